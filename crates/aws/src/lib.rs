//! Weir's ports on Firehose, DynamoDB and S3.
//!
//! Not there yet: the next engine to pass the suites of [`weir_core::conformance`](weir_core). How each port maps to
//! a service is in the table of [`weir_core::ports`].
