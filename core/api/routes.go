package api

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// route is one row of the table. Contract routes are served at their bare path and
// under /v1; the others at exactly the path that is given.
type route struct {
	method   string
	path     string
	contract bool
	handle   func(*gin.Context) error
}

// routes is the whole surface. What any hub can answer from the database is not passed on to
// the one that holds the account, which may have died a moment ago. openapi.yaml describes the same; a test compares them.
func (s *Server) routes() []route {
	const contract, extra = true, false
	return []route{
		{http.MethodGet, "/ping", contract, s.ping},
		{http.MethodPost, "/accounts", contract, s.createAccount},
		{http.MethodGet, "/accounts", contract, s.listAccounts},
		{http.MethodGet, "/accounts/:accountId", contract, s.getAccount},
		{http.MethodDelete, "/accounts/:accountId", contract, s.atHolder(s.deleteAccount)},
		{http.MethodGet, "/accounts/:accountId/status", contract, s.atHolder(s.accountStatus)},
		{http.MethodPost, "/accounts/:accountId/connect", contract, s.atHolder(s.connectAccount)},
		{http.MethodPost, "/accounts/:accountId/disconnect", contract, s.atHolder(s.disconnectAccount)},
		{http.MethodPost, "/accounts/:accountId/logout", contract, s.atHolder(s.logoutAccount)},
		{http.MethodPost, "/accounts/:accountId/message/send", contract, s.atHolder(s.sendText)},
		{http.MethodGet, "/accounts/:accountId/messages/:messageId", contract, s.getMessage},
		{http.MethodGet, "/accounts/:accountId/messages/:messageId/media", contract, s.getMessageMedia},
		{http.MethodGet, "/accounts/:accountId/chats", contract, s.listChats},
		{http.MethodGet, "/accounts/:accountId/chats/:chatId/messages", contract, s.listChatMessages},
		{http.MethodGet, "/messages", contract, s.listMessages},
		{http.MethodGet, "/media", contract, s.listMedia},
		{http.MethodGet, "/media/:id", contract, s.getMedia},
		{http.MethodPost, "/webhooks", contract, s.createWebhook},
		{http.MethodGet, "/webhooks", contract, s.listWebhooks},
		{http.MethodDelete, "/webhooks/:id", contract, s.deleteWebhook},

		{http.MethodGet, "/v1/events/:id/trace", extra, s.traceEvent},
		{http.MethodGet, "/v1/deliveries", extra, s.listDeliveries},
		{http.MethodPost, "/v1/deliveries/:id/replay", extra, s.replayDelivery},
		{http.MethodGet, "/v1/connectors", extra, s.listConnectors},
		{http.MethodGet, "/v1/rules", extra, s.listRules},
		{http.MethodGet, "/v1/rules/versions", extra, s.listRuleVersions},
		{http.MethodPost, "/v1/rules/reload", extra, s.reloadRules},
		{http.MethodPost, "/v1/rules/rollback", extra, s.rollbackRules},
		{http.MethodGet, "/v1/hubs", extra, s.listHubs},
		{http.MethodGet, "/v1/openapi.yaml", extra, s.openAPI},

		{http.MethodGet, "/healthz", extra, s.healthz},
		{http.MethodGet, "/readyz", extra, s.readyz},
		{http.MethodGet, "/metrics", extra, s.metrics()},
	}
}

// paths are where a row is served.
func (r route) paths() []string {
	if r.contract {
		return []string{r.path, "/v1" + r.path}
	}
	return []string{r.path}
}

// router builds the handler: observe → recover → guard → the table.
func (s *Server) router() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode) // a global of gin's; any other mode prints to standard output
	observe, err := s.observer()
	if err != nil {
		return nil, err
	}
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false // a redirected POST would lose its body; see normalise
	engine.ForwardedByClientIP = false
	engine.Use(observe, s.recover, s.guard)
	engine.NoRoute(s.wrap(func(*gin.Context) error { return errUnknownRoute }))
	engine.NoMethod(s.wrap(func(*gin.Context) error { return errMethod }))
	for _, r := range s.routes() {
		for _, path := range r.paths() {
			engine.Handle(r.method, path, s.wrap(r.handle))
		}
	}
	return normalise(engine), nil
}

// wrap renders a handler's error.
func (s *Server) wrap(handle func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := handle(c); err != nil {
			s.fail(c, err)
		}
	}
}

// ok answers 200 with a body that starts with "ok".
func ok(c *gin.Context, body any) error {
	c.PureJSON(http.StatusOK, body)
	return nil
}
