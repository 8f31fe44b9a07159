//! XXH64 (Collet, "xxHash fast digest algorithm", section 5), so that a state that was changed has a right checksum.

const P: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

fn round(sum: u64, lane: u64) -> u64 {
    sum.wrapping_add(lane.wrapping_mul(P[1])).rotate_left(31).wrapping_mul(P[0])
}

pub fn xxh64(bytes: &[u8]) -> u64 {
    let lane = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
    let stripes = bytes.chunks_exact(32);
    let mut rest = stripes.remainder();
    let mut hash = P[4];
    if bytes.len() >= 32 {
        let mut sums = [P[0].wrapping_add(P[1]), P[1], 0, 0u64.wrapping_sub(P[0])];
        for stripe in stripes {
            for (sum, chunk) in sums.iter_mut().zip(stripe.chunks_exact(8)) {
                *sum = round(*sum, lane(chunk));
            }
        }
        hash = [1, 7, 12, 18].iter().zip(sums).fold(0, |hash: u64, (&by, sum)| hash.wrapping_add(sum.rotate_left(by)));
        for sum in sums {
            hash = (hash ^ round(0, sum)).wrapping_mul(P[0]).wrapping_add(P[3]);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        hash = (hash ^ round(0, lane(chunk))).rotate_left(27).wrapping_mul(P[0]).wrapping_add(P[3]);
        rest = after;
    }
    if let Some((chunk, after)) = rest.split_first_chunk::<4>() {
        hash = (hash ^ u64::from(u32::from_le_bytes(*chunk)).wrapping_mul(P[0])).rotate_left(23);
        hash = hash.wrapping_mul(P[1]).wrapping_add(P[2]);
        rest = after;
    }
    for &byte in rest {
        hash = (hash ^ u64::from(byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P[1]);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P[2]);
    hash ^ (hash >> 32)
}
