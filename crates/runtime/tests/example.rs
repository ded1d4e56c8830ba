//! The example of the settings that every service has is true.

use hero_runtime::ChassisConfig;

#[test]
fn the_example_covers_every_setting() {
    hero_config::example::assert_covers::<ChassisConfig>(include_str!("../config.example.toml"));
}
