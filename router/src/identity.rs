//! Users and groups of the operating system: finding them by name, and turning into one.

use std::ffi::CString;
use std::io;

/// A group's number; a name that is a number stands for itself. Errors: there is none of that name.
pub fn group(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let c_name = c_string(name)?;
    let (mut record, mut buffer) = (zeroed::<libc::group>(), [0; 16 * 1024]);
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer is good for the call, and the buffer's length is told.
    let failed = unsafe {
        libc::getgrnam_r(c_name.as_ptr(), &mut record, buffer.as_mut_ptr(), buffer.len(), &mut found)
    };
    if failed == 0 && !found.is_null() { Ok(record.gr_gid) } else { Err(unknown("group", name)) }
}

/// Has the whole process be a user, with that user's groups. Nothing happens where it is that user already. Errors: there is none
/// of that name, or the process may not.
pub fn become_user(name: &str) -> io::Result<()> {
    let c_name = c_string(name)?;
    let (mut record, mut buffer) = (zeroed::<libc::passwd>(), [0; 16 * 1024]);
    let mut found = std::ptr::null_mut();
    // SAFETY: every pointer is good for the call, and the buffer's length is told.
    let failed = unsafe {
        libc::getpwnam_r(c_name.as_ptr(), &mut record, buffer.as_mut_ptr(), buffer.len(), &mut found)
    };
    if failed != 0 || found.is_null() {
        return Err(unknown("user", name));
    }
    // SAFETY: these take numbers and a name that outlives them. The groups go first: a user may not change them.
    unsafe {
        if libc::geteuid() == record.pw_uid {
            return Ok(());
        }
        let done = libc::initgroups(c_name.as_ptr(), record.pw_gid) == 0
            && libc::setgid(record.pw_gid) == 0
            && libc::setuid(record.pw_uid) == 0;
        if !done {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A record for the system to fill.
fn zeroed<T: Record>() -> T {
    // SAFETY: records are numbers and pointers, for which zero is a value.
    unsafe { std::mem::zeroed() }
}

/// What may be all zeros.
trait Record {}
impl Record for libc::group {}
impl Record for libc::passwd {}

fn c_string(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name has no zero byte"))
}

fn unknown(what: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} \"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(group("root").unwrap(), 0);
        assert_eq!(group("1234").unwrap(), 1234);
        assert!(group("no such group").unwrap_err().to_string().contains("no such group"));
    }

    #[test]
    fn a_user_that_is_not_there_is_told() {
        assert!(become_user("no such user").unwrap_err().to_string().contains("there is no user"));
    }
}
