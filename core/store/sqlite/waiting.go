package sqlite

import (
	"context"
	"fmt"
	"slices"
)

// waitingEndpoints steps through the partial indexes from endpoint to endpoint, so that it costs
// as much as there are endpoints, however much waits. Of what is neither queued nor delivered it
// is looked up whether any is parked (3).
const waitingEndpoints = `WITH RECURSIVE
	queued (e) AS (
		SELECT min(endpoint_n) FROM deliveries WHERE state = 0
		UNION ALL
		SELECT (SELECT min(endpoint_n) FROM deliveries WHERE state = 0 AND endpoint_n > queued.e)
		FROM queued WHERE queued.e IS NOT NULL
	),
	odd (e) AS (
		SELECT min(endpoint_n) FROM deliveries WHERE state > 1
		UNION ALL
		SELECT (SELECT min(endpoint_n) FROM deliveries WHERE state > 1 AND endpoint_n > odd.e)
		FROM odd WHERE odd.e IS NOT NULL
	)
	SELECT e FROM queued WHERE e IS NOT NULL
	UNION ALL
	SELECT e FROM odd WHERE e IS NOT NULL
		AND EXISTS (SELECT 1 FROM deliveries WHERE endpoint_n = odd.e AND state > 1 AND state = 3)`

// WaitingEndpoints implements store.Deliveries.
func (s *Store) WaitingEndpoints(ctx context.Context) ([]string, error) {
	var out []string
	err := s.r.each(ctx, waitingEndpoints, nil, func(scan func(...any) error) error {
		var n int64
		err := scan(&n)
		out = append(out, s.names.name(n))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list waiting endpoints: %w", err)
	}
	slices.Sort(out)
	return slices.Compact(out), nil // one may have both
}
