//! What AWS asks for: list prices on demand in us-east-1, without the free tier, of the first tier where there are
//! several.

/// When the prices were stated. AWS may have changed them since: each names the page that says so.
pub(crate) const AS_OF: &str = "November 2026";

/// Something that AWS charges for by the piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// Requests of the HTTP API, each begun 512 KB of one.
    ApiRequests,
    /// Invocations of functions.
    Invocations,
    /// Memory of functions on arm64 by the time for which it is held.
    GbSeconds,
    /// Data that the stream takes, each of its records in steps of 5 KB.
    StreamGb,
    /// Write request units of DynamoDB: each begun KB of an item, twice that in a transaction.
    Writes,
    /// Read request units of DynamoDB: each begun 4 KB of an item, half of that where it may be stale.
    Reads,
    /// What is put into S3, or listed there.
    Puts,
    /// What is read from S3.
    Gets,
    /// Requests of queues.
    QueueRequests,
    /// What CloudWatch takes as logs, metrics that are written as logs among them.
    LogGb,
    /// What goes out to clients.
    TransferGb,
    /// A month of what is stored in S3.
    StoredGb,
}

/// A price.
pub(crate) struct Price {
    /// What is counted.
    pub(crate) unit: &'static str,
    /// Dollars for so many of them.
    pub(crate) dollars: f64,
    pub(crate) per: f64,
    /// Where AWS says so.
    pub(crate) page: &'static str,
}

const MILLION: f64 = 1e6;

impl Item {
    /// What one costs.
    pub(crate) const fn price(self) -> Price {
        let (unit, dollars, per, page) = match self {
            Self::ApiRequests => {
                ("HTTP API requests", 1.00, MILLION, "https://aws.amazon.com/api-gateway/pricing/")
            }
            Self::Invocations => ("invocations", 0.20, MILLION, "https://aws.amazon.com/lambda/pricing/"),
            Self::GbSeconds => {
                ("GB-seconds, arm64", 13.3334, MILLION, "https://aws.amazon.com/lambda/pricing/")
            }
            Self::StreamGb => {
                ("GB of the stream in 5 KB steps", 0.029, 1.0, "https://aws.amazon.com/firehose/pricing/")
            }
            Self::Writes => {
                ("write request units", 0.625, MILLION, "https://aws.amazon.com/dynamodb/pricing/on-demand/")
            }
            Self::Reads => {
                ("read request units", 0.125, MILLION, "https://aws.amazon.com/dynamodb/pricing/on-demand/")
            }
            Self::Puts => ("S3 PUT", 5.00, MILLION, "https://aws.amazon.com/s3/pricing/"),
            Self::Gets => ("S3 GET", 0.40, MILLION, "https://aws.amazon.com/s3/pricing/"),
            Self::QueueRequests => ("SQS requests", 0.40, MILLION, "https://aws.amazon.com/sqs/pricing/"),
            Self::LogGb => ("GB of logs", 0.50, 1.0, "https://aws.amazon.com/cloudwatch/pricing/"),
            Self::TransferGb => ("GB to clients", 0.09, 1.0, "https://aws.amazon.com/ec2/pricing/on-demand/"),
            Self::StoredGb => ("GB in S3 for a month", 0.023, 1.0, "https://aws.amazon.com/s3/pricing/"),
        };
        Price { unit, dollars, per, page }
    }
}

/// What is paid by the month, however few events there are, once the account's free allowances are used up by other
/// things. These do not end after a year: ten metrics, ten alarms, three dashboards, a million requests of queues.
pub(crate) const BY_THE_MONTH: [(&str, f64); 4] = [
    ("14 metrics of Weir's own at $0.30, of which those that are zero cost nothing", 14.0 * 0.30),
    ("10 alarms at $0.10", 10.0 * 0.10),
    ("a dashboard", 3.00),
    // Five pollers ask for twenty seconds each.
    ("650,000 requests of the queue, made by Lambda to see whether something is there", 0.65 * 0.40),
];
