//! A `pg_snapshot`, as it travels in binary: which transactions somebody has seen.

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

type AnyError = Box<dyn std::error::Error + Sync + Send>;

/// How far back the oldest transaction in progress may be for reading over those between; as `_log_near` has it.
const NEAR: u64 = 64;

/// Every transaction below `xmin` is over, none from `xmax` on was; between them, those in `running` were in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    pub(crate) fn is_near(&self) -> bool {
        self.xmax - self.xmin.min(self.xmax) <= NEAR
    }

    pub(crate) fn xmin(&self) -> Xid {
        Xid(self.xmin)
    }

    /// As PostgreSQL writes one; of one that is longer than this many bytes, an older one, which sees less.
    pub(crate) fn text(&self, most: usize) -> String {
        let running: Vec<String> = self.running.iter().map(u64::to_string).collect();
        let text = format!("{}:{}:{}", self.xmin, self.xmax, running.join(","));
        if text.len() <= most { text } else { format!("{0}:{0}:", self.xmin) }
    }

    /// Reads what [`Snapshot::text`] wrote.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running = parts.next()?.split(',').filter(|x| !x.is_empty());
        let running = running.map(|x| x.parse().ok()).collect::<Option<_>>()?;
        Some(Self { xmin, xmax, running })
    }

    /// Whether what this transaction wrote is seen.
    pub(crate) fn sees(&self, xid: Xid) -> bool {
        xid.0 < self.xmin || xid.0 < self.xmax && !self.running.contains(&xid.0)
    }

    /// Whether it sees all that another one sees, as of two of one server one always does.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.xmin >= other.xmax
            || self.xmax >= other.xmax && !self.running.iter().any(|xid| other.sees(Xid(*xid)))
    }
}

/// A transaction id, `xid8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Xid(u64);

impl Xid {
    /// Before all of them.
    pub(crate) const NONE: Self = Self(0);
}

impl ToSql for Xid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        out.put_u64(self.0);
        Ok(IsNull::No)
    }

    accepts!(XID8);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Xid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        Ok(Self(u64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(XID8);
}

impl ToSql for Snapshot {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        out.put_i32(i32::try_from(self.running.len())?);
        out.put_u64(self.xmin);
        out.put_u64(self.xmax);
        self.running.iter().for_each(|x| out.put_u64(*x));
        Ok(IsNull::No)
    }

    accepts!(PG_SNAPSHOT, TXID_SNAPSHOT);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Snapshot {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let (count, rest) = raw.split_first_chunk::<4>().ok_or("a snapshot without a length")?;
        let mut xids =
            rest.chunks_exact(8).map(|c| c.iter().fold(0_u64, |sum, b| (sum << 8) | u64::from(*b)));
        let (Some(xmin), Some(xmax)) = (xids.next(), xids.next()) else {
            return Err("a snapshot without bounds".into());
        };
        let running: Vec<u64> = xids.collect();
        if usize::try_from(i32::from_be_bytes(*count)) != Ok(running.len()) {
            return Err("a snapshot of another length than it says".into());
        }
        Ok(Self { xmin, xmax, running })
    }

    accepts!(PG_SNAPSHOT, TXID_SNAPSHOT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_what_it_wrote_and_refuses_less() {
        let taken = Snapshot { xmin: 5, xmax: 90, running: vec![5, 77] };
        let mut out = BytesMut::new();
        taken.to_sql(&Type::PG_SNAPSHOT, &mut out).unwrap();
        assert_eq!(Snapshot::from_sql(&Type::PG_SNAPSHOT, &out).unwrap(), taken);
        assert!(!taken.is_near());
        assert_eq!(taken.text(100), "5:90:5,77");
        assert_eq!(Snapshot::of_text("5:90:5,77"), Some(taken.clone()));
        assert_eq!(
            Snapshot::of_text(&taken.text(5)),
            Some(Snapshot { xmin: 5, xmax: 5, running: Vec::new() })
        );
        assert!(["", "5", "5:6", "5:6:x", "a:6:"].iter().all(|t| Snapshot::of_text(t).is_none()));
        assert_eq!(
            [4, 5, 6, 77, 89, 90].map(|x| taken.sees(Xid(x))),
            [true, false, true, false, true, false]
        );
        let of = |xmin, xmax, running: &[u64]| Snapshot { xmin, xmax, running: running.to_vec() };
        for (other, less, more) in [
            (of(5, 90, &[5]), false, true),
            (of(4, 80, &[4, 5, 77]), true, false),
            (of(5, 91, &[5, 77]), false, true),
            (of(90, 95, &[]), false, true),
            (taken.clone(), true, true),
        ] {
            assert_eq!((taken.covers(&other), other.covers(&taken)), (less, more), "{other:?}");
        }
        for cut in [0, 3, 11, 20, out.len() - 8] {
            assert!(Snapshot::from_sql(&Type::PG_SNAPSHOT, &out[..cut]).is_err(), "{cut}");
        }
    }
}
