//! Bugs between the SDK and AWS: what is sent, or what is read of an answer, is not what it should be.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::Bug;
use crate::{
    clock::wait,
    faults::{ORIGIN, Service},
    operator::USERS,
    world::{Call, World, dynamodb::Answer},
};

impl World {
    /// A call to the stream, with what a bug does to its records.
    pub(crate) fn planted_in_records(&self, call: &Call) -> Value {
        let mut body = call.body.clone();
        if !self.has(Bug::UserFromEvent) && !self.has(Bug::FieldsDropped) {
            return body;
        }
        for record in body["Records"].as_array_mut().into_iter().flatten() {
            let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            let text = String::from_utf8(data).unwrap();
            let lines: String = text.split_inclusive('\n').map(|line| self.planted_in_line(line)).collect();
            record["Data"] = BASE64_STANDARD.encode(lines).into();
        }
        body
    }

    fn planted_in_line(&self, line: &str) -> String {
        let parsed: Value = serde_json::from_str(line).unwrap();
        if let (true, Some(named)) = (self.has(Bug::UserFromEvent), parsed["user"].as_str())
            && USERS.contains(&named)
        {
            let stamped = format!("\"username\":{}", parsed["username"]);
            return line.replacen(&stamped, &format!("\"username\":\"{named}\""), 1);
        }
        if self.has(Bug::FieldsDropped) && parsed["event_type"] != "rejected" {
            return line.replacen(",\"user\":\"carl-1\"", "", 1);
        }
        line.to_owned()
    }

    /// An answer of the stream that took only a part, as a bug reads it.
    pub(crate) fn planted_in_answer(&self, answer: &mut Value) {
        let answers = answer["RequestResponses"].as_array_mut().unwrap();
        match self.bug {
            Some(Bug::WholeBatchAgain) => {
                answers.fill(json!({"ErrorCode": "InternalFailure", "ErrorMessage": "planted"}));
            }
            Some(Bug::AnswersMixedUp) => answers.reverse(),
            Some(Bug::PartialFailureIgnored) => answer["FailedPutCount"] = 0.into(),
            _ => {}
        }
    }

    /// A call about a recent id, with what a bug does to it.
    fn planted_in_recent(&self, operation: &str, body: &mut Value) {
        match (self.bug, operation) {
            (Some(Bug::MarkedWhenClaimed), "PutItem") => body["Item"]["state"] = json!({"S": "stored"}),
            (Some(Bug::ClaimedTwice), "PutItem") => body["ConditionExpression"] = Value::Null,
            (Some(Bug::ClaimedForever), "PutItem") => {
                body["ConditionExpression"] = "attribute_not_exists(id)".into();
            }
            (Some(Bug::NotMarked), "UpdateItem") => {
                body["UpdateExpression"] = "ADD nothing :one".into();
                body["ExpressionAttributeValues"][":one"] = json!({"N": "1"});
            }
            _ => {}
        }
    }

    /// A call that raises a latest value, with what a bug does to it.
    fn planted_in_latest(&self, body: &mut Value) {
        if self.has(Bug::LatestUnconditional) {
            body["ConditionExpression"] = Value::Null;
        }
        let event = body["ExpressionAttributeValues"][":content"]["S"].as_str().unwrap_or_default();
        if let (true, Ok(event)) = (self.has(Bug::LatestByArrival), serde_json::from_str::<Value>(event)) {
            let arrived = event["received_at"].to_string();
            body["ExpressionAttributeValues"][":time"] = json!({"N": arrived});
        }
    }

    /// What a claim is answered, as a bug reads it.
    pub(crate) fn planted_in_claim(&self, answer: &mut Answer) {
        if let (true, Err((_, "ConditionalCheckFailedException", members))) =
            (self.has(Bug::ClaimTakenForStored), answer)
            && members["Item"]["state"].is_object()
        {
            members["Item"]["state"] = json!({"S": "stored"});
        }
    }

    /// A call to DynamoDB, with what a bug does to it.
    pub(crate) async fn planted_in_write(&self, call: &Call) -> Value {
        let mut body = call.body.clone();
        if body["TableName"] == "recent" {
            self.planted_in_recent(call.operation(), &mut body);
        }
        if body["TableName"] == "latest" && call.operation() == "UpdateItem" {
            self.planted_in_latest(&mut body);
        }
        if call.operation() != "TransactWriteItems" {
            return body;
        }
        if self.has(Bug::NoMarker) || self.has(Bug::MarkerApart) {
            let items = body["TransactItems"].as_array().unwrap().clone();
            let (markers, counts): (Vec<Value>, Vec<Value>) =
                items.into_iter().partition(|item| item["Put"].is_object());
            if self.has(Bug::MarkerApart) {
                let marker = json!({"TransactItems": markers});
                let now = self.clock.millis();
                if self.tables.lock().unwrap().call("TransactWriteItems", &marker, now).is_err() {
                    // The marker is there: the whole is refused as it would be.
                    return call.body.clone();
                }
                let origin = ORIGIN.with(std::sync::Arc::clone);
                wait(5).await;
                origin.boundary().await;
                // The second call may go wrong by itself; the caller's retry finds the marker.
                if self.faults.draw(origin.who, Service::DynamoDb, "TransactWriteItems").is_some() {
                    return nothing(&body);
                }
            }
            body["TransactItems"] = counts.into();
        }
        body
    }
}

/// A transaction that changes nothing.
fn nothing(body: &Value) -> Value {
    json!({"ClientRequestToken": body["ClientRequestToken"], "TransactItems": []})
}
