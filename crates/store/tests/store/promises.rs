//! Each promise becomes two tests, one on the model and one on Redis.

/// Makes a test on each store of every named function; they are generic over the fixture.
macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod on_the_model {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::World::<$crate::fixture::InMemory>::open().await).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::world::World::<$crate::redis_store::OnRedis>::open().await).await;
            })*
        }
    };
}
