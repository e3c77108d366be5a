//! The JSON Schemas of messages.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::json;

use crate::model::Dataset;
use crate::model::message::{ChunkData, ExportData, ImportData, Message, RecordData};

/// Every schema (JSON Schema 2020-12) by its name, as `docs/messages/NAME.schema.json` holds it: pretty JSON with a line
/// end.
pub fn message_schemas() -> [(&'static str, String); 4] {
    [
        ("record", schema_of::<RecordData>("a change to one record", false)),
        ("chunk", schema_of::<ChunkData>("changes to records of one dataset", false)),
        ("import", schema_of::<ImportData>("the end of an import", true)),
        ("export", schema_of::<ExportData>("the end of an export", false)),
    ]
}

fn schema_of<T: JsonSchema>(title: &str, has_counts: bool) -> String {
    // A message has every field but those that say that they may be absent; a receiver may rely on that.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Message<T>>().to_value();
    schema["title"] = json!(format!("Message of eventferry: {title}"));
    schema["oneOf"] = json!([{ "required": ["data"] }, { "required": ["dataref"] }]);
    schema["properties"]["specversion"] = json!({ "const": "1.0" });
    schema["properties"]["datacontenttype"] = json!({ "const": "application/json" });
    if has_counts {
        // The keys of maps, which the generator leaves open.
        let data = &mut schema["$defs"]["ImportData"]["properties"];
        data["datasets"]["propertyNames"] = json!({ "enum": Dataset::ALL.map(Dataset::as_str) });
        data["problem_counts"]["propertyNames"] = json!({ "pattern": "^[A-Z0-9_]+$" });
    }
    format!("{schema:#}\n")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use std::path::PathBuf;

    use serde_json::Value;

    use super::*;

    /// Set, the committed schemas are written anew.
    const RENEW: &str = "EVENTFERRY_RENEW";

    #[test]
    fn the_committed_schemas_are_those_of_the_messages() {
        for (name, schema) in message_schemas() {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("docs/messages/{name}.schema.json"));
            if std::env::var_os(RENEW).is_some() {
                crate::fsx::create_folders(path.parent().unwrap()).unwrap();
                crate::fsx::write_atomic(&path, schema.as_bytes()).unwrap();
            } else {
                let message = format!("run `{RENEW}=1 cargo test --lib handler::schema` and commit docs/messages");
                assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), schema, "{message}");
            }
            assert!(jsonschema::meta::is_valid(&serde_json::from_str::<Value>(&schema).unwrap()));
        }
    }
}
