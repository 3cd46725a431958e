package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Partitions is how many partitions deliveries are spread over; fixed, since each
// delivery's is stored with it.
const Partitions = 32

// Partition is the partition of a chat's deliveries, 0 to Partitions-1: all of a lane's are
// in one. Like all identifiers it is a hash of length-prefixed parts.
func Partition(ref ChatRef) int {
	h := sha256.New()
	var n [8]byte
	for _, part := range []string{"partition", ref.Account, ref.Chat} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	var sum [sha256.Size]byte
	return int(binary.BigEndian.Uint32(h.Sum(sum[:0])) % Partitions)
}

// PartitionLease is the name of a partition's lease.
func PartitionLease(partition int) string { return fmt.Sprintf("%s%02d", PartitionLeases, partition) }

// PartitionLeases is how the names of all partitions' leases begin.
const PartitionLeases = "partition/"
