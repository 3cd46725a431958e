package scenario

import (
	"fmt"
	"sort"
	"strings"
)

// CheckArrivals checks what one connector got against the events that the hub
// stored: every one came, and in each chat the first arrivals follow the sequence.
// It returns how many arrivals were repetitions.
func CheckArrivals(got []Arrival, want []string) (repeated int, err error) {
	first := make(map[string]bool, len(got))
	last := make(map[string]Arrival)
	for _, a := range got {
		if first[a.ID] {
			repeated++
			continue
		}
		first[a.ID] = true
		if before := last[a.Chat]; a.Seq <= before.Seq {
			return repeated, fmt.Errorf("chat %s: seq %d came after seq %d", a.Chat, a.Seq, before.Seq)
		}
		last[a.Chat] = a
	}
	var missing []string
	for _, id := range want {
		if !first[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return repeated, fmt.Errorf("%d of %d events did not arrive: %s", len(missing), len(want), some(missing))
	}
	return repeated, nil
}

// CheckFiles does the same for what several receivers got, who share the chats out among them:
// each got its part in the order of each chat, and all of them together got what is wanted.
func CheckFiles(files [][]Arrival, want []string) (repeated int, err error) {
	first := map[string]bool{}
	for i, got := range files {
		if _, err := CheckArrivals(got, nil); err != nil {
			return repeated, fmt.Errorf("receiver %d: %w", i+1, err)
		}
		for _, a := range got {
			if first[a.ID] {
				repeated++
			}
			first[a.ID] = true
		}
	}
	var missing []string
	for _, id := range want {
		if !first[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return repeated, fmt.Errorf("%d of %d events did not arrive: %s", len(missing), len(want), some(missing))
	}
	return repeated, nil
}

// Answers is how often each answer is shown on a phone, and how many further copies came.
type Answers struct {
	Shown  map[string]int
	Copies int
}

// CountAnswers counts a phone's messages by text.
func CountAnswers(phones ...[]Received) Answers {
	a := Answers{Shown: map[string]int{}}
	for _, list := range phones {
		for _, m := range list {
			a.Shown[m.Text]++
			a.Copies += max(m.Copies-1, 0)
		}
	}
	return a
}

// CheckAnswers checks that each wanted answer is shown exactly once, and nothing else.
func CheckAnswers(a Answers, want []string) error {
	var missing, twice []string
	wanted := make(map[string]bool, len(want))
	for _, text := range want {
		wanted[text] = true
		switch n := a.Shown[text]; {
		case n == 0:
			missing = append(missing, text)
		case n > 1:
			twice = append(twice, text)
		}
	}
	for text := range a.Shown {
		if !wanted[text] {
			return fmt.Errorf("an answer that nobody asked for: %q", text)
		}
	}
	if len(twice) > 0 {
		return fmt.Errorf("%d questions answered more than once: %s", len(twice), some(twice))
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d questions not answered: %s", len(missing), len(want), some(missing))
	}
	return nil
}

func some(list []string) string {
	sort.Strings(list)
	if len(list) > 3 {
		return strings.Join(list[:3], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}
