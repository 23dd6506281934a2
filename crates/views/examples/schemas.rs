//! Writes the JSON Schemas of all views into `schemas/` at the repository root.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    std::fs::create_dir_all(&folder)?;
    for name in co_views::SCHEMA_NAMES {
        if let Some(schema) = co_views::schema(name) {
            std::fs::write(folder.join(format!("{name}.schema.json")), co_views::to_json(&schema))?;
        }
    }
    Ok(())
}
