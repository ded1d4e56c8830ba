//! The generated messages, clients and servers; the protos in `proto/hero` describe them.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::disallowed_methods)]

pub mod bus {
    pub mod v1 {
        tonic::include_proto!("hero.bus.v1");
    }
}

pub mod circle {
    pub mod v1 {
        tonic::include_proto!("hero.circle.v1");
    }
}

pub mod job {
    pub mod v1 {
        tonic::include_proto!("hero.job.v1");
    }
}

pub mod key {
    pub mod v1 {
        tonic::include_proto!("hero.key.v1");
    }
}

pub mod node {
    pub mod v1 {
        tonic::include_proto!("hero.node.v1");
    }
}

pub mod overlay {
    pub mod v1 {
        tonic::include_proto!("hero.overlay.v1");
    }
}

pub mod runner {
    pub mod v1 {
        tonic::include_proto!("hero.runner.v1");
    }
}

pub mod schedule {
    pub mod v1 {
        tonic::include_proto!("hero.schedule.v1");
    }
}
