//! A call to the stream that hangs until time is up changes nothing of what calls before it stored.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::SystemTimeSource,
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use weir_aws::Aws;
use weir_core::{Event, Record, SeededRandom, Stamp, SystemClock, Timestamp, ports::Stream};

/// A stream that takes the first entry of the first call, and never answers another call.
#[derive(Debug, Clone, Default)]
struct TakesOneAndHangs(Arc<AtomicU64>);

impl HttpClient for TakesOneAndHangs {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for TakesOneAndHangs {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        HttpConnectorFuture::new(async move {
            if !first {
                pending::<()>().await;
            }
            let answers =
                r#"[{"RecordId":"1"},{"ErrorCode":"ServiceUnavailableException","ErrorMessage":"later"}]"#;
            let body = format!(r#"{{"FailedPutCount":1,"RequestResponses":{answers}}}"#);
            Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

/// A record that leaves no room for another in its entry.
fn large(filler: &str) -> Record {
    let text = format!(r#"{{"event_type":"t","filler":"{}"}}"#, filler.repeat(250_000));
    let stamp = Stamp {
        username: "ethan".parse().unwrap(),
        event_id: format!("e-{filler}").parse().unwrap(),
        received_at: Timestamp::saturating(1_795_179_605_007),
    };
    Record::accepted(&Event::read(&text).unwrap(), &"t".parse().unwrap(), None, stamp)
}

/// Time goes on only where nothing else does, so that the first call is in time on any machine.
#[tokio::test(start_paused = true)]
async fn what_was_taken_before_time_was_up_is_stored() {
    let client = TakesOneAndHangs::default();
    let credentials = Credentials::new("test", "test", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://aws.invalid")
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(SharedHttpClient::new(client.clone()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SystemTimeSource::new())
        .build();
    let stream = Aws::new(config, Arc::new(SeededRandom::new(1)), Arc::new(SystemClock))
        .stream("weir", Duration::from_millis(300));
    // Three fit into the first entry; the fourth is an entry of its own.
    let records = ["a", "b", "c", "d"].map(large).to_vec();
    let appended = stream.append(records).await;
    let durable: Vec<bool> = appended.iter().map(weir_core::ports::Appended::is_durable).collect();
    assert_eq!(client.0.load(Ordering::SeqCst), 2, "the second call hangs");
    assert_eq!(durable, [true, true, true, false]);
}
