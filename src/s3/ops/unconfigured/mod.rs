//! Features of AWS that nothing here uses: reads answer as for a bucket without them, deletes have nothing to do, and a
//! write that asks for what is so anyway succeeds. Any other write is `NotImplemented`.

mod acl;
mod deletes;
mod reads;
mod writes;

use super::{Answer, Operations, caller};
