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
}

/// A transaction id, `xid8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Xid(u64);

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
        for cut in [0, 3, 11, 20, out.len() - 8] {
            assert!(Snapshot::from_sql(&Type::PG_SNAPSHOT, &out[..cut]).is_err(), "{cut}");
        }
    }
}
