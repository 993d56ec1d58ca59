//! [`Lake`] and [`LakeObjects`].

use bytes::Bytes;

use super::{a_user, content, event_type, noise, read_all, some_batch};
use crate::{
    Hour, Partition,
    ports::{Lake, LakeObjects, PortError},
};

fn some_partition() -> Partition {
    Partition { username: a_user(), event_type: event_type("a"), hour: Hour::from_epoch(498_000).unwrap() }
}

/// An object is read back to the byte, empty or large (past the point where S3 wants several parts).
pub async fn an_object_is_read_back_as_it_was_put(lake: &(impl Lake + LakeObjects)) {
    let partition = some_partition();
    for length in [0, 1, 100_000, 9 << 20] {
        let (batch, bytes) = (some_batch().id(), noise(length));
        lake.put(&partition, &batch, length as u64, content(&bytes)).await.unwrap();
        assert!(
            read_all(lake.open_path(&partition.object(&batch)).await.unwrap()).await == bytes,
            "{length} bytes"
        );
    }
}

/// Putting again replaces the object.
pub async fn putting_again_replaces(lake: &(impl Lake + LakeObjects)) {
    let (partition, batch) = (some_partition(), some_batch().id());
    for bytes in [Bytes::from_static(b"a longer first one"), Bytes::from_static(b"second")] {
        lake.put(&partition, &batch, bytes.len() as u64, content(&bytes)).await.unwrap();
        assert_eq!(read_all(lake.open_path(&partition.object(&batch)).await.unwrap()).await, bytes);
    }
}

/// A content that breaks off leaves no object behind, and an earlier one unchanged.
pub async fn a_content_that_breaks_off_leaves_nothing(lake: &(impl Lake + LakeObjects)) {
    let (partition, batch) = (some_partition(), some_batch().id());
    let broken = || -> crate::ports::Content {
        let pieces = [Ok(Bytes::from_static(b"part")), Err(std::io::Error::other("broke off"))];
        Box::pin(futures_util::stream::iter(pieces))
    };
    assert!(lake.put(&partition, &batch, 100, broken()).await.is_err());
    assert!(matches!(lake.open_path(&partition.object(&batch)).await, Err(PortError::NotFound { .. })));
    let whole = Bytes::from_static(b"whole");
    lake.put(&partition, &batch, 5, content(&whole)).await.unwrap();
    assert!(lake.put(&partition, &batch, 100, broken()).await.is_err());
    assert_eq!(read_all(lake.open_path(&partition.object(&batch)).await.unwrap()).await, whole);
}

/// An object that was never put is not found.
pub async fn what_was_never_put_is_not_found(lake: &(impl Lake + LakeObjects)) {
    let answer = lake.open_path(&some_partition().object(&some_batch().id())).await;
    assert!(matches!(answer, Err(PortError::NotFound { .. })));
}

/// Objects are listed by their documented paths, in order, page after page.
pub async fn objects_are_listed_in_pages(lake: &(impl Lake + LakeObjects)) {
    let partition = some_partition();
    let mut expected = Vec::new();
    for n in 0..7 {
        let batch = some_batch().id();
        let partition = Partition { event_type: event_type(["a", "b"][n % 2]), ..partition.clone() };
        lake.put(&partition, &batch, 1, content(&Bytes::from_static(b"x"))).await.unwrap();
        expected.push(partition.object(&batch));
    }
    expected.sort();
    let (mut listed, mut after) = (Vec::new(), Some(Partition::folder_of_user(&partition.username)));
    for _ in 0..100 {
        let page = lake.list(after.as_deref(), 3).await.unwrap();
        assert!(page.len() <= 3 && page.is_sorted());
        after = page.last().cloned();
        listed.extend(page.into_iter().filter(|path| path.contains(partition.username.as_str())));
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
}

/// One user's objects are listed apart from all others', in order, page after page, and open by their paths.
pub async fn a_users_objects_are_listed_and_open_by_their_paths(lake: &(impl Lake + LakeObjects)) {
    let partition = some_partition();
    // A name that begins with the user's: its folder must not be mistaken for a part of the user's.
    let longer = format!("{}-b", partition.username).parse().unwrap();
    let mut expected = Vec::new();
    for n in 0..5 {
        let (batch, bytes) = (some_batch().id(), Bytes::from(format!("content {n}")));
        let partition = Partition { event_type: event_type(["a", "b"][n % 2]), ..partition.clone() };
        let others = Partition { username: longer_or(&longer, n), ..partition.clone() };
        for partition in [&partition, &others] {
            lake.put(partition, &batch, bytes.len() as u64, content(&bytes)).await.unwrap();
        }
        expected.push((partition.object(&batch), bytes));
    }
    expected.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    for _ in 0..100 {
        let page = lake.list_of(&partition.username, after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2 && page.is_sorted());
        after = page.last().cloned();
        listed.extend(page);
        if after.is_none() {
            break;
        }
    }
    let paths: Vec<&String> = expected.iter().map(|(path, _)| path).collect();
    assert_eq!(listed.iter().collect::<Vec<_>>(), paths);
    for (path, bytes) in &expected {
        assert_eq!(read_all(lake.open_path(path).await.unwrap()).await, bytes);
    }
    assert!(lake.list_of(&a_user(), None, 10).await.unwrap().is_empty());
    let missing = lake.open_path(&some_partition().object(&some_batch().id())).await;
    assert!(matches!(missing, Err(PortError::NotFound { .. })));
}

fn longer_or(longer: &crate::Username, n: usize) -> crate::Username {
    if n < 2 { longer.clone() } else { a_user() }
}
