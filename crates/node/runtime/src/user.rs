//! Who a container's process is: names and numbers looked up in the image's own files.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use skiff_cri::{Result, RuntimeError, SupplementalGroupsPolicy, User};

/// A larger file than this is no user database.
const MAX_BYTES: u64 = 4 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The primary group first.
    pub groups: Vec<u32>,
    pub home: String,
}

/// The text of a file inside a root file system; empty when it isn't there.
fn read(rootfs: &Path, name: &str) -> String {
    let text = || -> std::io::Result<String> {
        let root = skiff_sys::path::open_directory(rootfs)?;
        let file = skiff_sys::path::open_in_root(root.as_fd(), Path::new(name), libc::O_RDONLY | libc::O_NONBLOCK)?;
        let mut text = Vec::new();
        File::from(file).take(MAX_BYTES).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    text().unwrap_or_default()
}

pub(crate) fn look_up(rootfs: &Path, wanted: &User, image_user: &str) -> Result<Identity> {
    resolve(&read(rootfs, "etc/passwd"), &read(rootfs, "etc/group"), wanted, image_user)
}

/// One line of /etc/passwd.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Entry { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: fields.nth(1).unwrap_or_default() })
    })
}

/// Names, numbers and members of /etc/group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

fn resolve(passwd: &str, group: &str, wanted: &User, image_user: &str) -> Result<Identity> {
    let text = match (wanted.uid, &wanted.name) {
        (Some(uid), _) => uid.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => image_user.to_owned(),
    };
    let (user, named_group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let entry = entries(passwd).find(|entry| entry.name == user).or_else(|| entries(passwd).find(|entry| Ok(entry.uid) == user.parse()));
    let uid = match (&entry, user.parse::<u32>()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(uid)) => uid,
        (None, Err(_)) => return Err(RuntimeError::Invalid(format!("unable to find user {user}: no matching entries in passwd file"))),
    };
    let gid = match (wanted.gid, named_group.filter(|name| !name.is_empty())) {
        (Some(gid), _) => gid,
        (None, Some(name)) => match groups(group).find(|(known, ..)| *known == name).map(|(_, gid, _)| gid).or_else(|| name.parse().ok()) {
            Some(gid) => gid,
            None => return Err(RuntimeError::Invalid(format!("unable to find group {name}: no matching entries in group file"))),
        },
        (None, None) => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut all = vec![gid];
    if let (SupplementalGroupsPolicy::Merge, Some(entry)) = (wanted.policy, &entry) {
        all.extend(groups(group).filter(|(.., members)| members.split(',').any(|member| member == entry.name)).map(|(_, gid, _)| gid));
    }
    all.extend(&wanted.supplemental_groups);
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|gid| seen.insert(*gid));
    let home = entry.map(|entry| entry.home.to_owned()).filter(|home| !home.is_empty()).unwrap_or_else(|| "/".into());
    Ok(Identity { uid, gid, groups: all, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:40:web,root\nextra:x:41:web\n";

    #[track_caller]
    fn check(wanted: User, image: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let found = resolve(PASSWD, GROUP, &wanted, image).expect("resolves");
        assert_eq!((found.uid, found.gid, found.groups.as_slice(), found.home.as_str()), (uid, gid, groups, home));
    }

    #[test]
    fn users_come_from_the_pod_then_from_the_image() {
        let none = User::default;
        check(none(), "", 0, 0, &[0, 40], "/root");
        check(none(), "web", 33, 34, &[34, 40, 41], "/var/www");
        check(none(), "33:logs", 33, 40, &[40, 41], "/var/www");
        check(none(), "1234", 1234, 0, &[0], "/");
        check(none(), "1234:5678", 1234, 5678, &[5678], "/");
        check(User { uid: Some(33), ..none() }, "root", 33, 34, &[34, 40, 41], "/var/www");
        check(User { uid: Some(7), gid: Some(8), supplemental_groups: vec![9, 8], ..none() }, "web", 7, 8, &[8, 9], "/");
        let strict = User { policy: SupplementalGroupsPolicy::Strict, supplemental_groups: vec![9], ..none() };
        check(strict, "web", 33, 34, &[34, 9], "/var/www");
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(resolve(PASSWD, GROUP, &User::default(), "nobody").is_err());
        assert!(resolve(PASSWD, GROUP, &User::default(), "web:nogroup").is_err());
    }
}
