package api

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
)

// route is one row of the table. Contract routes are served at their bare path and
// under /v1; the others at exactly the path that is given.
type route struct {
	method   string
	path     string
	contract bool
	// access is the scope that is needed, and concern which accounts it is about.
	access  access
	concern concern
	handle  func(*gin.Context) error
}

// routes is the whole surface. What any hub can answer from the database is not passed on to
// the one that holds the account, which may have died a moment ago. Every row says who may: a key
// of read gets what can be had, one of send writes messages, and whatever changes what the hub
// does or what leaves it is admin's. openapi.yaml describes the same; a test compares them.
func (s *Server) routes() []route {
	const contract, extra = true, false
	return []route{
		{http.MethodGet, "/ping", contract, anyone, noAccount, s.ping},
		{http.MethodPost, "/accounts", contract, needAdmin, allAccounts, s.createAccount},
		{http.MethodGet, "/accounts", contract, needRead, itsAccounts, s.listAccounts},
		{http.MethodGet, "/accounts/:accountId", contract, needRead, thisAccount, s.getAccount},
		{http.MethodDelete, "/accounts/:accountId", contract, needAdmin, heldAccount, s.deleteAccount},
		{http.MethodGet, "/accounts/:accountId/status", contract, needRead, heldAccount, s.accountStatus},
		{http.MethodPost, "/accounts/:accountId/connect", contract, needAdmin, heldAccount, s.connectAccount},
		{http.MethodPost, "/accounts/:accountId/disconnect", contract, needAdmin, heldAccount, s.disconnectAccount},
		{http.MethodPost, "/accounts/:accountId/logout", contract, needAdmin, heldAccount, s.logoutAccount},
		{http.MethodPost, "/accounts/:accountId" + sendPath, contract, needSend, heldAccount, s.sendText},
		{http.MethodGet, "/accounts/:accountId/messages/:messageId", contract, needRead, thisAccount, s.getMessage},
		{http.MethodGet, "/accounts/:accountId/messages/:messageId/media", contract, needRead, thisAccount, s.getMessageMedia},
		{http.MethodGet, "/accounts/:accountId/chats", contract, needRead, thisAccount, s.listChats},
		{http.MethodGet, "/accounts/:accountId/chats/:chatId/messages", contract, needRead, thisAccount, s.listChatMessages},
		{http.MethodGet, "/messages", contract, needRead, itsAccounts, s.listMessages},
		{http.MethodGet, "/media", contract, needRead, itsAccounts, s.listMedia},
		{http.MethodGet, "/media/:id", contract, needRead, itsAccounts, s.getMedia},
		{http.MethodPost, "/webhooks", contract, needAdmin, itsAccounts, s.createWebhook},
		{http.MethodGet, "/webhooks", contract, needRead, itsAccounts, s.listWebhooks},
		{http.MethodDelete, "/webhooks/:id", contract, needAdmin, itsAccounts, s.deleteWebhook},

		{http.MethodGet, "/v1/events/:id/trace", extra, needRead, itsAccounts, s.traceEvent},
		{http.MethodGet, "/v1/accounts/:accountId/sends", extra, needRead, thisAccount, s.listSends},
		{http.MethodGet, "/v1/deliveries", extra, needRead, itsAccounts, s.listDeliveries},
		{http.MethodPost, "/v1/deliveries/:id/replay", extra, needAdmin, itsAccounts, s.replayDelivery},
		{http.MethodGet, "/v1/connectors", extra, needRead, allAccounts, s.listConnectors},
		{http.MethodPost, "/v1/connectors/:id/enable", extra, needAdmin, allAccounts, ofConnector(s.enable)},
		{http.MethodPost, "/v1/connectors/:id/disable", extra, needAdmin, allAccounts, ofConnector(s.disable)},
		{http.MethodPost, "/v1/connectors/:id/discard", extra, needAdmin, allAccounts, ofConnector(s.discard)},
		{http.MethodGet, "/v1/webhooks/:id", extra, needRead, itsAccounts, s.getWebhook},
		{http.MethodPost, "/v1/webhooks/:id/enable", extra, needAdmin, itsAccounts, s.ofWebhook(s.enable)},
		{http.MethodPost, "/v1/webhooks/:id/disable", extra, needAdmin, itsAccounts, s.ofWebhook(s.disable)},
		{http.MethodPost, "/v1/webhooks/:id/discard", extra, needAdmin, itsAccounts, s.ofWebhook(s.discard)},
		{http.MethodGet, "/v1/rules", extra, needRead, allAccounts, s.listRules},
		{http.MethodGet, "/v1/rules/versions", extra, needRead, allAccounts, s.listRuleVersions},
		{http.MethodPost, "/v1/rules/reload", extra, needAdmin, allAccounts, s.reloadRules},
		{http.MethodPost, "/v1/rules/rollback", extra, needAdmin, allAccounts, s.rollbackRules},
		{http.MethodGet, "/v1/hubs", extra, needRead, allAccounts, s.listHubs},
		{http.MethodPost, NudgePath, extra, onlyHubs, noAccount, s.nudged},
		{http.MethodGet, "/v1/openapi.yaml", extra, needRead, noAccount, s.openAPI},

		{http.MethodPost, "/v1/keys", extra, needAdmin, allAccounts, s.createKey},
		{http.MethodGet, "/v1/keys", extra, needAdmin, allAccounts, s.listKeys},
		{http.MethodDelete, "/v1/keys/:id", extra, needAdmin, allAccounts, s.deleteKey},

		{http.MethodGet, "/healthz", extra, anyone, noAccount, s.healthz},
		{http.MethodGet, "/readyz", extra, anyone, noAccount, s.readyz},
		{http.MethodGet, "/metrics", extra, needRead, allAccounts, s.metrics()},
	}
}

// paths are where a row is served.
func (r route) paths() []string {
	if r.contract {
		return []string{r.path, "/v1" + r.path}
	}
	return []string{r.path}
}

// router builds the handler: observe → recover → guard → the table, where each row admits.
func (s *Server) router() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode) // a global of gin's; any other mode prints to standard output
	observe, err := s.observer()
	if err != nil {
		return nil, err
	}
	if s.auth, err = newAuthWatch(s.deps.Registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false // a redirected POST would lose its body; see normalise
	engine.ForwardedByClientIP = false
	engine.Use(observe, s.recover, s.guard)
	engine.NoRoute(s.wrap(func(*gin.Context) error { return errUnknownRoute }))
	engine.NoMethod(s.wrap(func(*gin.Context) error { return errMethod }))
	for _, r := range s.routes() {
		handle := r.handle
		if r.concern == heldAccount {
			handle = s.atHolder(handle)
		}
		for _, path := range r.paths() {
			engine.Handle(r.method, path, s.admit(r), s.wrap(handle))
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
