//! What browsers show: `page`, the dashboard, which uses the API like any other user; `docs`, the API's description for
//! people; `script`, with which web pages send events. `served` has their files, compressed at build time.

pub(crate) mod docs;
pub(crate) mod page;
pub(crate) mod script;
pub(crate) mod served;
