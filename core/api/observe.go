package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// observer counts, times and logs each request. Labels are bounded: the route's
// pattern, never its path.
func (s *Server) observer() (gin.HandlerFunc, error) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wildcat_http_requests_total", Help: "REST requests by route, method and status code.",
	}, []string{"route", "method", "code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "wildcat_http_request_duration_seconds", Help: "Time to answer REST requests, by route and method.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"route", "method"})
	for _, m := range []prometheus.Collector{total, seconds} {
		if err := s.deps.Registerer.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return func(c *gin.Context) {
		start := time.Now() // not the injected clock: a duration needs the monotonic one
		c.Next()
		took, route, method := time.Since(start), routeOf(c), methodOf(c.Request.Method)
		total.WithLabelValues(route, method, strconv.Itoa(c.Writer.Status())).Inc()
		seconds.WithLabelValues(route, method).Observe(took.Seconds())
		s.log.Debug("request", "method", method, "path", c.Request.URL.Path, "code", c.Writer.Status(), "key", callerOf(c).key.ID, "duration", took)
	}, nil
}

// routeOf is the pattern of the route that was matched.
func routeOf(c *gin.Context) string {
	if p := c.FullPath(); p != "" {
		return p
	}
	return "unmatched"
}

// methodOf bounds the label: a client may invent methods.
func methodOf(method string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}, method) {
		return method
	}
	return "other"
}
