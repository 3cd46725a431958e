package pipeline

import "sync"

// outageError marks a failure of the store in the middle of a rule's work: the event
// is tried again, the rule is not to blame.
type outageError struct{ err error }

func (e *outageError) Error() string { return e.err.Error() }
func (e *outageError) Unwrap() error { return e.err }

// plans keeps verdicts that could not be stored yet, so that trying again neither runs
// the rules again nor takes the chat's allowance of replies twice. There is at most one
// for each chat that has work.
type plans struct {
	mu    sync.Mutex
	byID  map[string]*plan
	limit int
}

func newPlans(limit int) *plans { return &plans{byID: make(map[string]*plan), limit: limit} }

func (p *plans) get(id string) *plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

func (p *plans) keep(id string, pl *plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byID) < p.limit {
		p.byID[id] = pl
	}
}

func (p *plans) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}
