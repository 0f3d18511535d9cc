use super::account_keys;
use crate::config::{Overrides, Settings, load};

const SECRET: &str = "hunter2hunter2";

fn of_file(text: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sediment.toml");
    std::fs::write(&file, text).unwrap();
    load(&Overrides { file: Some(file), ..Overrides::default() }).map_err(|error| error.to_string())
}

fn entry(id: &str, access_key: &str, rest: &str) -> String {
    format!("[[s3.accounts]]\nid = \"{id}\"\nname = \"of {id}\"\naccess_key = \"{access_key}\"\n{rest}\n")
}

fn inline(id: &str, access_key: &str) -> String {
    entry(id, access_key, &format!("secret_key = \"{SECRET}\""))
}

#[test]
fn accounts_come_with_their_secrets_from_the_settings_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "a-secret-of-its-own\n").unwrap();
    let from_file = entry("b", "key-b", &format!("secret_key_file = {file:?}"));
    let settings = of_file(&(inline("a", "key-a") + &from_file)).unwrap();
    let keys = account_keys(&settings.s3.accounts).unwrap();
    let said: Vec<_> = keys.iter().map(|k| (k.id.as_str(), &*k.access_key, k.secret_key.as_str())).collect();
    assert_eq!(said, [("a", "key-a", SECRET), ("b", "key-b", "a-secret-of-its-own")]);
    assert_eq!(&*keys[1].name, "of b");

    std::fs::remove_file(&file).unwrap();
    assert!(account_keys(&settings.s3.accounts).unwrap_err().to_string().contains("secret"));
}

#[test]
fn later_layers_replace_the_list() {
    let list = format!("[{{id=\"z\", name=\"z\", access_key=\"zzz\", secret_key=\"{SECRET}\"}}]");
    let environment = vec![("SEDIMENT_S3__ACCOUNTS".to_owned(), list)];
    let settings = load(&Overrides { environment, ..Overrides::default() }).unwrap();
    assert_eq!(settings.s3.accounts[0].id, "z");
}

#[test]
fn i6_what_is_wrong_with_an_account_is_said_without_its_secret() {
    let secret_twice = format!("secret_key = \"{SECRET}\"\nsecret_key_file = \"/x\"");
    let wrong = [
        (inline("a", "one") + &inline("a", "two"), "number 2: id"),
        (inline("a", "one") + &inline("b", "one"), "number 2: access_key"),
        (inline("sediment", "one"), "service.owner_id"),
        (inline("a", "o/e"), "access_key must be"),
        (entry("a", "one", ""), "set one of secret_key and secret_key_file"),
        (entry("a", "one", &secret_twice), "set one of secret_key and secret_key_file"),
        (entry("a", "one", "secret_key = \"hunter2\""), "secret_key must be"),
        (entry("a", "one", &format!("secret_kye = \"{SECRET}\"")), "did you mean `secret_key`?"),
        (format!("[s3]\naccounts = \"{SECRET}\""), "list of tables"),
        (format!("[s3]\naccounts = [\"one:{SECRET}\"]"), "list of tables"),
        (entry("a", "one", &format!("secret_key = [\"{SECRET}\"]")), "list of tables"),
        (format!("[s3.accounts]\nsecret_key = \"{SECRET}\""), "list of tables"),
    ];
    for (text, expected) in wrong {
        let said = of_file(&text).unwrap_err();
        assert!(said.contains(expected) && said.lines().count() == 1, "{text}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    for value in [SECRET, "[{secret_key=\"hunter2\"}]", "[\"hunter2"] {
        for overrides in [
            Overrides {
                environment: vec![("SEDIMENT_S3__ACCOUNTS".to_owned(), value.to_owned())],
                ..Overrides::default()
            },
            Overrides { sets: vec![format!("s3.accounts={value}")], ..Overrides::default() },
        ] {
            let said = load(&overrides).unwrap_err().to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn i6_settings_with_accounts_are_shown_without_secrets_and_are_still_a_file() {
    let in_a_file = entry("b", "key-b", "secret_key_file = \"/run/secrets/b\"");
    let settings = of_file(&(inline("a", "key-a") + &in_a_file)).unwrap();
    let printed = settings.to_toml().unwrap();
    let shown = format!("{printed}{settings:?}") + &serde_json::to_string(&settings).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(printed.contains("# s3.accounts: `a`"), "{printed}");
    let again = of_file(&printed).unwrap();
    assert_eq!(again.s3.accounts, settings.s3.accounts[1..]);
}
