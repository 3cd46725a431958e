package sqlite

import (
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// words maps the seam's state words to the numbers in the rows. A number is for ever:
// the partial indexes of the schema name some.
type words[W ~string] []W

var (
	sendStates = words[store.SendState]{
		store.SendQueued, store.SendSending, store.SendSent, store.SendFailed, store.SendUnknown,
	}
	deliveryStates = words[store.DeliveryState]{
		store.DeliveryQueued, store.DeliveryOK, store.DeliveryDead, store.DeliveryParked, store.DeliveryCancelled,
	}
)

// number is -1 for a word that is no state; the table's readers never match it.
func (w words[W]) number(word W) int64 {
	for i, s := range w {
		if s == word {
			return int64(i)
		}
	}
	return -1
}

// known refuses to write a word that is no state.
func (w words[W]) known(word W) error {
	if w.number(word) < 0 {
		return fmt.Errorf("%q is no state", string(word))
	}
	return nil
}

func (w words[W]) word(n int64) W {
	if n < 0 || n >= int64(len(w)) {
		return ""
	}
	return w[n]
}
