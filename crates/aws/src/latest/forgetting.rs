//! Replaces latest values that are forgotten, in one step each: by the newest event that is left, or by none.

use aws_sdk_dynamodb::operation::{delete_item::DeleteItemError, update_item::UpdateItemError};
use aws_sdk_dynamodb::types::AttributeValue;
use weir_core::{latest::LatestValue, ports::PortError};

use super::{DynamoLatest, INLINE, REMOVING, id, item_key, time};
use crate::errors::{malformed, port_error};

impl DynamoLatest {
    /// Puts another value in the place of this one, or none. A newer value that took its place stays. Objects of large values are not
    /// removed here.
    pub async fn replace(&self, value: &LatestValue, by: Option<&LatestValue>) -> Result<(), PortError> {
        let Some(by) = by else {
            let removing = self.client.delete_item().table_name(&self.table);
            let removing = removing.set_key(Some(item_key(&value.resource)));
            let removing = removing.condition_expression("#time = :time AND #id = :id");
            let removing = removing.expression_attribute_names("#time", "time");
            let removing = removing.expression_attribute_names("#id", "id");
            let removing = removing.expression_attribute_values(":time", time(value));
            let removed = removing.expression_attribute_values(":id", id(value)).send().await;
            return match removed {
                Err(error)
                    if !matches!(
                        error.as_service_error(),
                        Some(DeleteItemError::ConditionalCheckFailedException(_))
                    ) =>
                {
                    Err(port_error(REMOVING, &error))
                }
                _ => Ok(()),
            };
        };
        let event = by.event();
        let (kept, other, content) = if event.len() > INLINE {
            ("object", "event", self.objects.put(&by.resource, event).await?)
        } else {
            let text = std::str::from_utf8(event).map_err(|error| malformed(REMOVING, error.to_string()))?;
            ("event", "object", text.to_owned())
        };
        let replaced = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(&value.resource)))
            .update_expression("SET #time = :time, #id = :id, #kept = :content REMOVE #other")
            .condition_expression("#time = :old_time AND #id = :old_id")
            .expression_attribute_names("#time", "time")
            .expression_attribute_names("#id", "id")
            .expression_attribute_names("#kept", kept)
            .expression_attribute_names("#other", other)
            .expression_attribute_values(":time", time(by))
            .expression_attribute_values(":id", id(by))
            .expression_attribute_values(":content", AttributeValue::S(content))
            .expression_attribute_values(":old_time", time(value))
            .expression_attribute_values(":old_id", id(value))
            .send()
            .await;
        match replaced {
            Err(error)
                if !matches!(
                    error.as_service_error(),
                    Some(UpdateItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Err(port_error(REMOVING, &error))
            }
            _ => Ok(()),
        }
    }
}
