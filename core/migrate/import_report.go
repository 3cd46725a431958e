package migrate

import (
	"context"
	"slices"

	"github.com/wildcathub/wildcat/core/legacy"
)

// Imported tells what an import did.
type Imported struct {
	Lines []ImportedLine
	// Renamed are the accounts whose ids cannot be those of a hub, or were given to others
	// by an earlier import: new ids by old ones.
	Renamed map[string]string
	// Compared: the import came as far as to compare.
	Compared bool

	tallies []*tally
}

// ImportedLine is one kind of what the source holds. Source is how much of it was taken
// over, Found how much there is.
type ImportedLine struct {
	Line
	Found int
	Left  []Left
}

// Left is what was not taken over for one reason.
type Left struct {
	Reason string
	N      int
	// Examples are the ids of some of them.
	Examples []string
}

// Equal tells whether the target holds what was taken over.
func (r Imported) Equal() bool {
	return !slices.ContainsFunc(r.Lines, func(l ImportedLine) bool { return !l.Equal() })
}

// Why records are left out, besides what package legacy says.
const (
	reasonRepeated = "it is there twice"
	reasonThere    = "the hub has it already"
	reasonDamaged  = "the file is not whole"
)

// maxExamples of what is left out are named.
const maxExamples = 3

func newImported() Imported {
	r := Imported{Renamed: map[string]string{}}
	for _, kind := range []string{lineAccounts, lineWebhooks, lineFiles, lineMessages} {
		r.tallies = append(r.tallies, &tally{kind: kind})
	}
	return r
}

func (r *Imported) of(kind string) *tally {
	i := slices.IndexFunc(r.tallies, func(t *tally) bool { return t.kind == kind })
	return r.tallies[i]
}

// tally counts one kind.
type tally struct {
	kind  string
	Found int
	left  []Left
	of    [2]digest // what was taken over, and what the target holds
}

// leave notes what a reader has left out and not counted.
func (t *tally) leave(all ...legacy.Skipped) {
	for _, s := range all {
		t.Found++
		t.skip(s)
	}
}

func (t *tally) skip(s legacy.Skipped) {
	i := slices.IndexFunc(t.left, func(l Left) bool { return l.Reason == s.Reason })
	if i < 0 {
		i = len(t.left)
		t.left = append(t.left, Left{Reason: s.Reason})
	}
	l := &t.left[i]
	if l.N++; len(l.Examples) < maxExamples {
		l.Examples = append(l.Examples, s.ID)
	}
}

func (t *tally) expect(record any) error { return t.of[0].add(record) }
func (t *tally) holds(record any) error  { return t.of[1].add(record) }

// expectPart and holdsPart add to the hash what belongs to a record that was counted.
func (t *tally) expectPart(record any) error { return addPart(&t.of[0], record) }
func (t *tally) holdsPart(record any) error  { return addPart(&t.of[1], record) }

func addPart(d *digest, record any) error {
	err := d.add(record)
	d.n--
	return err
}

// compare reads the target.
func (i *importing) compare(ctx context.Context) error {
	accounts, err := i.to.Store.ListAccounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if made, ours := i.accounts[a.ID]; ours {
			if err := i.report.of(lineAccounts).holds(accountRecord(a, made)); err != nil {
				return err
			}
		}
	}
	webhooks, err := i.to.Store.ListWebhooks(ctx)
	if err != nil {
		return err
	}
	for _, w := range webhooks {
		if made, ours := i.webhooks[w.URL]; ours && w.Account == "" {
			if err := i.report.of(lineWebhooks).holds(webhookRecord(w, made)); err != nil {
				return err
			}
		}
	}
	if err := i.compareFiles(ctx); err != nil {
		return err
	}
	if err := i.compareMessages(ctx); err != nil {
		return err
	}
	for _, t := range i.report.tallies {
		i.report.Lines = append(i.report.Lines, ImportedLine{Line: line(t.kind, t.of), Found: t.Found, Left: t.left})
	}
	i.report.Compared = true
	return nil
}
