package api

import "github.com/gin-gonic/gin"

// viewVersion is a version as all routes show it; count stands where the rules themselves do not.
func viewVersion(v RuleVersion) gin.H {
	return gin.H{"version": v.Version, "number": v.Number, "since": isoOrNil(v.Since), "hub": filled(v.Hub), "cause": v.Cause, "count": v.Count}
}

func viewFailure(f *RulesFailure) any {
	if f == nil {
		return nil
	}
	return gin.H{"at": iso(f.At), "version": filled(f.Version), "error": f.Error}
}

func (s *Server) listRules(c *gin.Context) error {
	st := s.deps.Rules.RuleStatus()
	out := viewVersion(st.RuleVersion)
	out["ok"], out["rules"] = true, orEmpty(st.Rules)
	out["behind"], out["failure"] = viewFailure(st.Behind), viewFailure(st.Failure)
	return ok(c, out)
}

func (s *Server) listRuleVersions(c *gin.Context) error {
	list, err := s.deps.Rules.RuleVersions(c.Request.Context())
	if err != nil {
		return err
	}
	out := make([]gin.H, len(list))
	for i, v := range list {
		out[i] = viewVersion(v)
	}
	return ok(c, gin.H{"ok": true, "versions": out})
}

func (s *Server) reloadRules(c *gin.Context) error {
	change, err := s.deps.Rules.ReloadRules(c.Request.Context())
	return s.changed(c, change, err)
}

func (s *Server) rollbackRules(c *gin.Context) error {
	b, err := s.readBody(c)
	if err != nil {
		return err
	}
	version, isText := b.text("version")
	if !isText {
		return errRuleVersionText
	}
	change, err := s.deps.Rules.RollbackRules(c.Request.Context(), version)
	return s.changed(c, change, err)
}

func (s *Server) changed(c *gin.Context, change RulesChange, err error) error {
	if err != nil {
		return err
	}
	out := viewVersion(change.RuleVersion)
	out["ok"], out["before"], out["changed"] = true, change.Before, change.Before != change.Version
	out["restart"] = orEmpty(change.Restart)
	return ok(c, out)
}
