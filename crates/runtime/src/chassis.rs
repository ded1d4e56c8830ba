//! The settings that every service has.

use hero_config::{Invalid, Validate};
use hero_telemetry::TelemetryConfig;

use crate::{AdminConfig, DrainConfig};

/// Where [`crate::main`] finds, in a service's own configuration, the settings that every service has.
pub trait Chassis {
    /// `[admin]`
    fn admin(&self) -> &AdminConfig;
    /// `[telemetry]`
    fn telemetry(&self) -> &TelemetryConfig;
    /// `[drain]`
    fn drain(&self) -> &DrainConfig;

    /// Checks the three; call it from the service's own `validate`.
    ///
    /// # Errors
    /// The first value that cannot be used.
    fn validate_chassis(&self) -> Result<(), Invalid> {
        self.admin().validate().map_err(|invalid| invalid.within("admin"))?;
        self.telemetry().validate().map_err(|invalid| invalid.within("telemetry"))?;
        self.drain().validate().map_err(|invalid| invalid.within("drain"))
    }
}

/// A configuration of the three alone, for a process that has no other settings.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ChassisConfig {
    /// The admin port.
    pub admin: AdminConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
    /// How the process stops.
    pub drain: DrainConfig,
}

impl Chassis for ChassisConfig {
    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn drain(&self) -> &DrainConfig {
        &self.drain
    }
}

impl Validate for ChassisConfig {
    fn validate(&self) -> Result<(), Invalid> {
        self.validate_chassis()
    }
}
