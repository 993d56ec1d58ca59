//! What `template.yaml` makes on AWS is what is promised of it. Nothing is deployed here: the template is read.

mod api;
mod cdn;
mod functions;
mod kept;
mod map;
mod permissions;
pub mod reader;
mod sql;
mod watching;
