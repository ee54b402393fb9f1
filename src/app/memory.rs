//! The memory of this process is nobody else's business: there are tokens in it.
//!
//! A core dump would write them to a disk, and whoever may trace the process could read them. Both
//! are refused to this user's other programs as far as the system can.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Closes it for the rest of the process's life. What the system does not have is left as it is.
pub fn close() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::debug!(error = &*error.to_string(), "core dumps cannot be switched off");
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::debug!(error = &*error.to_string(), "tracing cannot be switched off");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn l4_nobody_is_given_the_memory() {
        close();
        assert_eq!(dumpable_behavior().expect("known"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
