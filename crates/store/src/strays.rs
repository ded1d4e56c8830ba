//! Jobs in the hands of nobody: an id that was moved into an in-flight list after its runner had signed out or was
//! given up. No lease leads to such a list, so the keys themselves are looked through, a piece at a time.

use hero_redis::cmd;

use crate::{Result, Store, answer::Answer, keys};

/// Keys that one look passes.
const KEYS_A_LOOK: usize = 1_000;

/// Where the look through all keys has come to, and what it has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strays {
    place: u64,
    /// Jobs that the latest look put back into their queues.
    pub requeued: u64,
    /// Jobs that the latest look ended.
    pub ended: u64,
}

impl Store {
    /// Looks through the next keys for jobs that nobody holds, and takes them back. A store of a million keys is
    /// seen through in a thousand looks.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn take_strays_back(&self, strays: &mut Strays) -> Result<()> {
        let mut scan = cmd("SCAN");
        scan.arg(strays.place).arg("MATCH").arg(keys::any_hand()).arg("COUNT").arg(KEYS_A_LOOK);
        let (place, lists): (u64, Vec<String>) = self.link().call(&scan).await?;
        *strays = Strays { place, ..Strays::default() };
        for (runner, circle) in lists.iter().filter_map(|list| keys::holder(list)) {
            while self.take_stray_back(runner, circle, strays).await? {}
        }
        Ok(())
    }

    /// One step; whether there is more.
    async fn take_stray_back(&self, runner: &str, circle: &str, strays: &mut Strays) -> Result<bool> {
        let script = &self.scripts().stray;
        let mut call = script.command(&[], 2, 256);
        call.arg(runner).arg(circle);
        let mut answer = Answer::new("stray", self.run("stray", script, &call).await?)?;
        strays.requeued += answer.number()?.unsigned_abs();
        strays.ended += answer.number()?.unsigned_abs();
        Ok(answer.number()? == 1)
    }
}
