//! The JSON Schema of `result.json`.

use schemars::generate::SchemaSettings;
use serde_json::json;

use crate::model::{Dataset, Report};

/// The JSON Schema (2020-12) of `result.json`, as `docs/result.schema.json` holds it: pretty JSON with a line end.
pub fn result_schema() -> String {
    // A written report has every field, null where there is no value; a reader may rely on that.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Report>().to_value();
    // The keys of maps, which the generator leaves open.
    schema["properties"]["datasets"]["propertyNames"] = json!({ "enum": Dataset::ALL.map(Dataset::as_str) });
    schema["properties"]["problem_counts"]["propertyNames"] = json!({ "$ref": "#/$defs/Code" });
    schema["title"] = json!("result.json of eventferry");
    format!("{schema:#}\n")
}
