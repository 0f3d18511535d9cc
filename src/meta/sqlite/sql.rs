//! Every statement of the store, in one place, so that one test prepares them all. The tables are explained in
//! `docs/format.md`.

use crate::types::UnixMillis;

/// One per schema version, applied in order; never edited once released.
pub(super) const MIGRATIONS: [&str; 9] = [
    "
CREATE TABLE state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last_seq INTEGER NOT NULL DEFAULT 0, last_at INTEGER NOT NULL DEFAULT 0,
    last_bucket INTEGER NOT NULL DEFAULT 0,
    buckets INTEGER NOT NULL DEFAULT 0, versions INTEGER NOT NULL DEFAULT 0,
    delete_markers INTEGER NOT NULL DEFAULT 0, logical_bytes INTEGER NOT NULL DEFAULT 0,
    uploads INTEGER NOT NULL DEFAULT 0, parts INTEGER NOT NULL DEFAULT 0,
    manifests INTEGER NOT NULL DEFAULT 0, manifest_bytes INTEGER NOT NULL DEFAULT 0,
    inline_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO state (only) VALUES (1);

CREATE TABLE buckets (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL, versioning INTEGER NOT NULL
) STRICT;

CREATE TABLE manifests (
    n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
    refs INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL
) STRICT;
CREATE INDEX duplicates ON manifests (id) WHERE refs > 1;

CREATE TABLE plains (id BLOB PRIMARY KEY, refs INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    row BLOB PRIMARY KEY, seq INTEGER NOT NULL, salt INTEGER, suspended INTEGER,
    modified INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL,
    etag BLOB, checksum BLOB, attributes BLOB, parts BLOB, manifest INTEGER, body BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_by_age ON versions (seq);
CREATE INDEX versions_by_manifest ON versions (manifest) WHERE manifest IS NOT NULL;
CREATE INDEX null_versions ON versions (row) WHERE suspended IS NOT NULL;

CREATE TABLE uploads (
    row BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL,
    initiated INTEGER NOT NULL, checksum INTEGER, attributes BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE parts (
    upload INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, modified INTEGER NOT NULL,
    kind INTEGER NOT NULL, size INTEGER NOT NULL, etag BLOB NOT NULL, checksum BLOB,
    manifest INTEGER, body BLOB, PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
CREATE TABLE cursors (consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE versions ADD COLUMN listed INTEGER;
ALTER TABLE versions ADD COLUMN upload BLOB;
UPDATE versions SET listed = 1 WHERE kind <> 0 AND NOT EXISTS (
    SELECT 1 FROM versions newer
    WHERE newer.row >= substr(versions.row, 1, length(versions.row) - 8) AND newer.row < versions.row
);
CREATE INDEX current_objects ON versions (row) WHERE listed IS NOT NULL;
CREATE INDEX versions_by_upload ON versions (upload) WHERE upload IS NOT NULL;
",
    "
ALTER TABLE buckets ADD COLUMN owner TEXT;
ALTER TABLE buckets ADD COLUMN lock BLOB;
ALTER TABLE buckets ADD COLUMN settings BLOB;
ALTER TABLE versions ADD COLUMN tags BLOB;
ALTER TABLE versions ADD COLUMN lock BLOB;
ALTER TABLE uploads ADD COLUMN tags BLOB;
ALTER TABLE uploads ADD COLUMN lock BLOB;
",
    "
DROP INDEX current_objects;
CREATE INDEX current_objects ON versions (row, listed) WHERE listed IS NOT NULL;
",
    "
ALTER TABLE state ADD COLUMN reached INTEGER NOT NULL DEFAULT 0;
UPDATE state SET reached = last_at;
",
    "
CREATE TABLE agenda (
    bucket INTEGER NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL, touched INTEGER NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX agenda_by_time ON agenda (at);
CREATE TABLE lifecycle_scans (bucket INTEGER PRIMARY KEY, position BLOB NOT NULL) STRICT;
CREATE INDEX buckets_with_settings ON buckets (id) WHERE settings IS NOT NULL;
",
    "
CREATE INDEX plain_versions ON versions (row) WHERE kind = 3;
",
    "
ALTER TABLE state ADD COLUMN store_id TEXT;
",
    "
CREATE TABLE replicas (
    row BLOB NOT NULL, destination TEXT NOT NULL, state INTEGER NOT NULL, synced INTEGER NOT NULL,
    changed INTEGER NOT NULL, remote TEXT, PRIMARY KEY (row, destination)
) STRICT, WITHOUT ROWID;
CREATE TABLE replication_queue (
    destination TEXT NOT NULL, bucket INTEGER NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL,
    since INTEGER NOT NULL, start INTEGER NOT NULL, touched INTEGER NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (destination, bucket, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX replication_by_time ON replication_queue (destination, at);
CREATE INDEX replication_by_age ON replication_queue (destination, since);
CREATE TABLE replication_scans (bucket INTEGER PRIMARY KEY, behind BLOB NOT NULL) STRICT;
",
];

/// The step that gives the clock of locks its floor.
pub(super) const REACHED: usize = 5;

/// A stamp ahead of the wall clock was a wrong one: it must not become that floor. Too low is safe, the clock only waits.
pub(super) fn reached_by(now: UnixMillis) -> String {
    format!("UPDATE state SET reached = min(reached, {});", now.get())
}

/// Gives the constants, and `ALL` of them for the test that prepares each.
macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        $(pub(super) const $name: &str = $sql;)*
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str)] = &[$((stringify!($name), $sql)),*];
    };
}

statements! {
    // The writer's transaction.
    BEGIN = "BEGIN IMMEDIATE";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    SAVEPOINT = "SAVEPOINT command";
    RELEASE = "RELEASE command";
    ROLLBACK_TO = "ROLLBACK TO command";
    STATE = "SELECT last_seq, last_at, last_bucket, buckets, versions, delete_markers, logical_bytes, uploads,
        parts, manifests, manifest_bytes, inline_bytes, reached FROM state";
    SET_STATE = "UPDATE state SET last_seq = ?1, last_at = ?2, last_bucket = ?3, buckets = ?4, versions = ?5,
        delete_markers = ?6, logical_bytes = ?7, uploads = ?8, parts = ?9, manifests = ?10,
        manifest_bytes = ?11, inline_bytes = ?12, reached = ?13";

    OWNER = "SELECT store_id FROM state WHERE only = 1";
    SET_OWNER = "UPDATE state SET store_id = ?1 WHERE only = 1";
    DISOWN = "UPDATE state SET store_id = NULL WHERE only = 1";

    // Buckets.
    BUCKET_BY_NAME = "SELECT id, name, created, versioning, owner, lock, settings
        FROM buckets WHERE name = ?1";
    BUCKETS = "SELECT id, name, created, versioning, owner, lock, settings
        FROM buckets WHERE name > ?1 ORDER BY name LIMIT ?2";
    BUCKET_BY_ID = "SELECT id, name, created, versioning, owner, lock, settings
        FROM buckets WHERE id = ?1";
    HOME = "SELECT versioning, lock FROM buckets WHERE id = ?1";
    ADD_BUCKET = "INSERT INTO buckets (id, name, created, versioning, owner, lock, settings)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    SET_BUCKET = "UPDATE buckets SET settings = ?2 WHERE id = ?1";
    LOCK_BUCKET = "UPDATE buckets SET lock = ?2 WHERE id = ?1";
    SET_VERSIONING = "UPDATE buckets SET versioning = ?2 WHERE id = ?1";
    DROP_BUCKET = "DELETE FROM buckets WHERE id = ?1";

    // Bodies.
    HOLD_NEW_MANIFEST = "INSERT INTO manifests (id, refs, size, root) VALUES (?1, 1, ?2, ?3)
        ON CONFLICT (id) DO UPDATE SET refs = refs + 1, root = excluded.root RETURNING n, refs";
    HOLD_MANIFEST = "UPDATE manifests SET refs = refs + 1 WHERE id = ?1 RETURNING n";
    RELEASE_MANIFEST = "UPDATE manifests SET refs = refs - 1 WHERE n = ?1 RETURNING refs";
    DROP_MANIFEST = "DELETE FROM manifests WHERE n = ?1 RETURNING id, size, root";
    HOLD_PLAIN = "INSERT INTO plains (id, refs) VALUES (?1, 1) ON CONFLICT (id) DO UPDATE SET refs = refs + 1";
    RELEASE_PLAIN = "UPDATE plains SET refs = refs - 1 WHERE id = ?1 RETURNING refs";
    DROP_PLAIN = "DELETE FROM plains WHERE id = ?1";
    HAS_MANIFEST = "SELECT 1 FROM manifests WHERE id = ?1";
    HAS_PLAIN = "SELECT 1 FROM plains WHERE id = ?1";

    // Versions. `?1` to `?2`: the rows of one key.
    CURRENT_HELD = "SELECT row, salt, etag, kind, size, manifest, length(body), iif(kind = 3, body, NULL),
        modified, lock, seq FROM versions WHERE row >= ?1 AND row < ?2 ORDER BY row LIMIT 1";
    HELD_AT = "SELECT row, salt, etag, kind, size, manifest, length(body), iif(kind = 3, body, NULL),
        modified, lock, seq FROM versions WHERE row = ?1";
    TAGS_OF = "SELECT tags FROM versions WHERE row = ?1";
    // `?1`: where the key's rows begin, `?2`: the row.
    ABOVE = "SELECT seq FROM versions WHERE row >= ?1 AND row < ?2 ORDER BY row DESC LIMIT 1";
    NEWER = "SELECT 1 FROM versions WHERE row >= ?1 AND row < ?2 LIMIT 1 OFFSET ?3";
    ANY_VERSION = "SELECT 1 FROM versions WHERE row >= ?1 AND row < ?2 LIMIT 1";
    ADD_VERSION = "INSERT INTO versions (row, seq, salt, suspended, modified, kind, size, etag, checksum,
        attributes, parts, manifest, body, listed, upload, tags, lock)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    SET_TAGS = "UPDATE versions SET tags = ?2 WHERE row = ?1";
    ATTRIBUTES_AT = "SELECT attributes FROM versions WHERE row = ?1";
    SET_ATTRIBUTES = "UPDATE versions SET attributes = ?2 WHERE row = ?1";
    SET_BODY = "UPDATE versions SET kind = ?2, manifest = ?3, body = ?4 WHERE row = ?1";
    SET_LOCK = "UPDATE versions SET lock = ?2 WHERE row = ?1";
    UNLIST = "UPDATE versions SET listed = NULL WHERE row = ?1";
    LIST_NEWEST = "UPDATE versions SET listed = 1 WHERE kind <> 0 AND listed IS NULL AND row =
        (SELECT row FROM versions WHERE row >= ?1 AND row < ?2 ORDER BY row LIMIT 1)";
    DROP_VERSION = "DELETE FROM versions WHERE row = ?1";
    OLDEST = "SELECT row, salt FROM versions WHERE row >= ?1 AND row < ?2 ORDER BY row DESC LIMIT 1";
    SUSPENDED_NULL = "SELECT row FROM versions INDEXED BY null_versions
        WHERE row >= ?1 AND row < ?2 AND suspended IS NOT NULL LIMIT 1";
    CURRENT = "SELECT v.seq, v.salt, v.modified, 1, v.kind, v.size, v.etag, v.checksum, v.body, m.id, m.root,
        v.attributes, v.parts, v.tags, v.lock FROM versions v LEFT JOIN manifests m ON m.n = v.manifest
        WHERE v.row >= ?1 AND v.row < ?2 ORDER BY v.row LIMIT 1";
    // `?1`: the row, `?2`: where the key's rows begin.
    VERSION_AT = "SELECT v.seq, v.salt, v.modified,
        NOT EXISTS (SELECT 1 FROM versions o WHERE o.row >= ?2 AND o.row < ?1), v.kind, v.size, v.etag,
        v.checksum, v.body, m.id, m.root, v.attributes, v.parts, v.tags, v.lock
        FROM versions v LEFT JOIN manifests m ON m.n = v.manifest WHERE v.row = ?1";
    // `?1`: the upload, `?2` to `?3`: the rows of its key.
    COMPLETED = "SELECT v.seq, v.salt, v.modified,
        NOT EXISTS (SELECT 1 FROM versions o WHERE o.row >= ?2 AND o.row < v.row), v.kind, v.size, v.etag,
        v.checksum, v.body, m.id, m.root, v.attributes, v.parts, v.tags, v.lock
        FROM versions v INDEXED BY versions_by_upload LEFT JOIN manifests m ON m.n = v.manifest
        WHERE v.upload = ?1 AND v.row >= ?2 AND v.row < ?3 LIMIT 1";
    // From the index alone, which SQLite knows only if it holds all columns that are named.
    FIRST_OBJECT = "SELECT row FROM versions INDEXED BY current_objects
        WHERE row >= ?1 AND row < ?2 AND listed IS NOT NULL ORDER BY row LIMIT 1";
    FIRST_VERSION = "SELECT row FROM versions WHERE row >= ?1 AND row < ?2 ORDER BY row LIMIT 1";
    SCAN_OBJECTS = "SELECT row, seq, salt, modified, kind, size, etag, checksum, attributes
        FROM versions INDEXED BY current_objects
        WHERE row >= ?1 AND row < ?2 AND listed IS NOT NULL ORDER BY row";
    SCAN_VERSIONS = "SELECT row, seq, salt, modified, kind, size, etag, checksum, attributes
        FROM versions WHERE row >= ?1 AND row < ?2 ORDER BY row";

    // Uploads and parts.
    UPLOAD = "SELECT row, seq, initiated, checksum, attributes, tags, lock FROM uploads WHERE id = ?1";
    ADD_UPLOAD = "INSERT INTO uploads (row, id, seq, initiated, checksum, attributes, tags, lock)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    DROP_UPLOAD = "DELETE FROM uploads WHERE row = ?1";
    ANY_UPLOAD = "SELECT 1 FROM uploads WHERE row >= ?1 AND row < ?2 LIMIT 1";
    FIRST_UPLOAD = "SELECT row FROM uploads WHERE row >= ?1 AND row < ?2 ORDER BY row LIMIT 1";
    SCAN_UPLOADS = "SELECT row, id, seq, initiated, checksum, attributes FROM uploads
        WHERE row >= ?1 AND row < ?2 ORDER BY row";
    ADD_PART = "INSERT INTO parts (upload, number, seq, modified, kind, size, etag, checksum, manifest, body)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    PART_HELD = "SELECT number, seq, kind, size, manifest, length(body), iif(kind = 3, body, NULL)
        FROM parts WHERE upload = ?1 AND number = ?2";
    PARTS_HELD = "SELECT number, seq, kind, size, manifest, length(body), iif(kind = 3, body, NULL)
        FROM parts WHERE upload = ?1 ORDER BY number";
    DROP_PART = "DELETE FROM parts WHERE upload = ?1 AND number = ?2";
    DROP_PARTS = "DELETE FROM parts WHERE upload = ?1";
    PARTS = "SELECT p.number, p.seq, p.modified, 1, p.kind, p.size, p.etag, p.checksum, p.body, m.id, m.root
        FROM uploads u JOIN parts p ON p.upload = u.seq LEFT JOIN manifests m ON m.n = p.manifest
        WHERE u.id = ?1 AND p.number > ?2 ORDER BY p.number LIMIT ?3";

    // The lifecycle's agenda.
    TOUCH = "INSERT INTO agenda (bucket, key, at, touched) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (bucket, key)
        DO UPDATE SET at = min(at, excluded.at), touched = max(touched, excluded.touched)";
    SETTLE = "UPDATE agenda SET at = ?4 WHERE bucket = ?1 AND key = ?2 AND touched = ?3";
    SETTLE_FOR_GOOD = "DELETE FROM agenda WHERE bucket = ?1 AND key = ?2 AND touched = ?3";
    DUE = "SELECT bucket, key, at, touched FROM agenda INDEXED BY agenda_by_time
        WHERE at <= ?1 ORDER BY at LIMIT ?2";
    NEXT_DUE = "SELECT at FROM agenda INDEXED BY agenda_by_time WHERE at >= 0 ORDER BY at LIMIT 1";
    SET_SCAN = "INSERT INTO lifecycle_scans (bucket, position) VALUES (?1, ?2)
        ON CONFLICT (bucket) DO UPDATE SET position = excluded.position";
    DROP_SCAN = "DELETE FROM lifecycle_scans WHERE bucket = ?1";
    SCANS = "SELECT bucket, position FROM lifecycle_scans WHERE bucket > 0 ORDER BY bucket";
    BUCKETS_WITH_SETTINGS = "SELECT id, name, created, versioning, owner, lock, settings
        FROM buckets INDEXED BY buckets_with_settings WHERE settings IS NOT NULL AND id > 0 ORDER BY id";
    HISTORY = "SELECT seq, salt, modified, kind, size, tags, attributes, lock FROM versions
        WHERE row > ?1 AND row < ?2 ORDER BY row LIMIT ?3";

    // Replication. `?1`: a version's row, which must be there; `?2`: the destination.
    REPLICA_CHANGED = "INSERT INTO replicas (row, destination, state, synced, changed)
        SELECT ?1, ?2, 0, 0, ?3 WHERE EXISTS (SELECT 1 FROM versions WHERE row = ?1)
        ON CONFLICT (row, destination) DO UPDATE SET changed = max(changed, excluded.changed)";
    REPLICA_COPIED = "INSERT INTO replicas (row, destination, state, synced, changed, remote)
        SELECT ?1, ?2, 1, ?3, 0, ?4 WHERE EXISTS (SELECT 1 FROM versions WHERE row = ?1)
        ON CONFLICT (row, destination) DO UPDATE
        SET state = 1, synced = max(synced, excluded.synced), remote = excluded.remote";
    REPLICA_REFUSED = "INSERT INTO replicas (row, destination, state, synced, changed)
        SELECT ?1, ?2, 2, 0, 0 WHERE EXISTS (SELECT 1 FROM versions WHERE row = ?1)
        ON CONFLICT (row, destination) DO UPDATE SET state = state | 2";
    REPLICA_STATES = "SELECT destination, state, synced, changed, remote FROM replicas WHERE row = ?1
        ORDER BY destination";
    DROP_REPLICAS = "DELETE FROM replicas WHERE row = ?1";
    // From the key's oldest row that is asked for, `?2`, to its newest.
    VERSIONS_FROM = "SELECT v.seq, v.salt, v.kind, v.tags, v.attributes, r.destination, r.state, r.synced,
        r.changed, r.remote FROM versions v LEFT JOIN replicas r ON r.row = v.row AND r.destination = ?3
        WHERE v.row > ?1 AND v.row <= ?2 ORDER BY v.row DESC LIMIT ?4";
    QUEUE_KEY = "INSERT INTO replication_queue (destination, bucket, key, at, since, start, touched, attempts)
        VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, 0) ON CONFLICT (destination, bucket, key)
        DO UPDATE SET start = min(start, excluded.start), touched = max(touched, excluded.touched)";
    UNQUEUE_KEY = "DELETE FROM replication_queue
        WHERE destination = ?1 AND bucket = ?2 AND key = ?3 AND touched = ?4";
    PUT_KEY_OFF = "UPDATE replication_queue SET at = ?4, attempts = attempts + 1
        WHERE destination = ?1 AND bucket = ?2 AND key = ?3";
    QUEUED_KEYS = "SELECT bucket, key, start, touched, attempts
        FROM replication_queue INDEXED BY replication_by_time
        WHERE destination = ?1 AND at <= ?2 ORDER BY at LIMIT ?3";
    NEXT_QUEUED = "SELECT at FROM replication_queue INDEXED BY replication_by_time
        WHERE destination = ?1 ORDER BY at LIMIT 1";
    OLDEST_QUEUED = "SELECT since FROM replication_queue INDEXED BY replication_by_age
        WHERE destination = ?1 ORDER BY since LIMIT 1";
    EACH_QUEUED = "SELECT 1 FROM replication_queue WHERE destination = ?1 LIMIT ?2";
    NEXT_DESTINATION = "SELECT destination FROM replication_queue WHERE destination > ?1
        ORDER BY destination LIMIT 1";
    SET_REPLICATION_SCAN = "INSERT INTO replication_scans (bucket, behind) VALUES (?1, ?2)
        ON CONFLICT (bucket) DO UPDATE SET behind = excluded.behind";
    DROP_REPLICATION_SCAN = "DELETE FROM replication_scans WHERE bucket = ?1";
    REPLICATION_SCANS = "SELECT bucket, behind FROM replication_scans WHERE bucket > 0 ORDER BY bucket";

    // The log.
    ADD_CHANGE = "INSERT INTO changes (seq, at, record) VALUES (?1, ?2, ?3)";
    CHANGES = "SELECT seq, at, record FROM changes WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    // `?2`: the most records that go, less one.
    TRIM = "DELETE FROM changes WHERE seq <= min(?1, (SELECT min(seq) FROM changes) + ?2)";
    CURSOR = "SELECT seq FROM cursors WHERE consumer = ?1";
    SET_CURSOR = "INSERT INTO cursors (consumer, seq) VALUES (?1, ?2)
        ON CONFLICT (consumer) DO UPDATE SET seq = excluded.seq";
    DROP_CURSOR = "DELETE FROM cursors WHERE consumer = ?1";
    MANIFESTS = "SELECT id, root FROM manifests WHERE id > ?1 ORDER BY id LIMIT ?2";

    // Inspection. What is wrong with a row must not hide the next one: each page is one statement, and rows are judged alone.
    AUDIT_VERSIONS = "SELECT v.seq, v.salt, v.modified, 1, v.kind, v.size, v.etag, v.checksum, v.body, m.id, m.root,
        v.attributes, v.parts, v.tags, v.lock, v.row FROM versions v LEFT JOIN manifests m ON m.n = v.manifest
        WHERE v.row > ?1 ORDER BY v.row LIMIT ?2";
    AUDIT_UPLOADS = "SELECT row, id, seq FROM uploads WHERE row > ?1 ORDER BY row LIMIT ?2";
    AUDIT_PARTS = "SELECT p.number, p.kind, p.size, p.etag, p.body, m.id, m.root
        FROM parts p LEFT JOIN manifests m ON m.n = p.manifest
        WHERE p.upload = ?1 AND p.number > ?2 ORDER BY p.number LIMIT ?3";
    DUPLICATES = "SELECT id, refs, size FROM manifests INDEXED BY duplicates
        WHERE refs > 1 AND id > ?1 ORDER BY id LIMIT ?2";
    OF_BODY = "SELECT row, salt, modified FROM versions INDEXED BY versions_by_manifest
        WHERE manifest = (SELECT n FROM manifests WHERE id = ?1) AND row > ?2 ORDER BY row LIMIT ?3";
    BY_AGE = "SELECT row, salt, modified FROM versions INDEXED BY versions_by_age
        WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    PLAIN_VERSIONS = "SELECT row, salt, modified, size, etag, body FROM versions INDEXED BY plain_versions
        WHERE kind = 3 AND row > ?1 ORDER BY row LIMIT ?2";
    PLAINS = "SELECT id FROM plains WHERE id > ?1 ORDER BY id LIMIT ?2";
}
