package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// mexVariables are the variables of the GraphQL queries that whatsmeow's newsletter.go sends.
type mexVariables struct {
	Newsletter string `json:"newsletter_id"`
	Viewer     bool   `json:"fetch_viewer_metadata"`
	Input      struct {
		Key  string                  `json:"key"`
		Type types.NewsletterKeyType `json:"type"`
	} `json:"input"`
	Create struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"newsletter_input"`
}

type mexHandler func(s *Server, a *account, v *mexVariables) (field string, value any, err error)

// mexTable is where a GraphQL query is added, by its id: that of the web client, and that of
// others. Following has, for others, the id of the list (newsletter.go of whatsmeow).
func mexTable() map[string]mexHandler {
	return map[string]mexHandler{
		"6563316087068696": mexFetch, "9779843322044422": mexFetch,
		"6388546374527196": mexSubscribed, "8621797084555037": mexSubscribed,
		"6234210096708695": mexCreate, "27527996220149684": mexCreate,
		"9926858900719341": mexFollow,
		"6392786840836363": mexUnfollow, "8782612271820087": mexUnfollow,
		"6274038279359549": mexMute, "5971669009605755": mexMute,
		"6068417879924485": mexUnmute, "6104029483058502": mexUnmute,
	}
}

// handleMex answers a GraphQL query. A refusal is no error of the query: it is in the answer.
func (s *Server) handleMex(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	query := iq.GetChildByTag("query")
	raw, _ := query.Content.([]byte)
	var asked struct {
		Variables mexVariables `json:"variables"`
	}
	handle := mexTable()[text(&query, "query_id")]
	if handle == nil {
		return nil, errNotImplemented
	}
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, errBadRequest
	}
	field, value, err := handle(s, c.dev.acct, &asked.Variables)
	answer := map[string]any{"data": map[string]any{field: value}}
	var refused *iqError
	if errors.As(err, &refused) {
		answer["errors"] = []types.GraphQLError{{
			Extensions: types.GraphQLErrorExtensions{ErrorCode: refused.code, Severity: "CRITICAL"},
			Message:    refused.text, Path: []string{field},
		}}
	} else if err != nil {
		return nil, err
	}
	out, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("marshal answer: %w", err)
	}
	return []waBinary.Node{{Tag: "result", Content: out}}, nil
}

func (v *mexVariables) id() string {
	jid, err := types.ParseJID(v.Newsletter)
	if err != nil || jid.Server != types.NewsletterServer {
		return "" // no newsletter has it
	}
	return jid.User
}

func mexFetch(s *Server, a *account, v *mexVariables) (string, any, error) {
	const field = "xwa2_newsletter"
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	var n *newsletter
	if v.Input.Type == types.NewsletterKeyTypeInvite {
		n = s.newsletters.byInvite[strings.TrimPrefix(v.Input.Key, newsletterLinkPrefix)]
	} else {
		n = s.newsletters.byID[strings.TrimSuffix(v.Input.Key, "@"+types.NewsletterServer)]
	}
	if n == nil {
		return field, nil, ErrUnknownNewsletter
	}
	viewer := ""
	if v.Viewer {
		viewer = a.number
	}
	return field, n.metadata(viewer), nil
}

func mexSubscribed(s *Server, a *account, v *mexVariables) (string, any, error) {
	if v.Newsletter != "" {
		return mexFollow(s, a, v)
	}
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	list := []*types.NewsletterMetadata{}
	for _, id := range slices.Sorted(maps.Keys(s.newsletters.byID)) {
		if n := s.newsletters.byID[id]; n.follows(a.number) {
			list = append(list, n.metadata(a.number))
		}
	}
	return "xwa2_newsletter_subscribed", list, nil
}

func mexCreate(s *Server, a *account, v *mexVariables) (string, any, error) {
	const field = "xwa2_newsletter_create"
	n, err := s.createNewsletter(a, v.Create.Name, v.Create.Description)
	if err != nil {
		return field, nil, err
	}
	s.newsletters.mu.Lock()
	defer s.newsletters.mu.Unlock()
	return field, n.metadata(a.number), nil
}

func mexFollow(s *Server, a *account, v *mexVariables) (string, any, error) {
	return "xwa2_newsletter_join_v2", map[string]string{"id": v.Newsletter}, s.follow(a, v.id(), true)
}

func mexUnfollow(s *Server, a *account, v *mexVariables) (string, any, error) {
	return "xwa2_newsletter_leave_v2", map[string]string{"id": v.Newsletter}, s.follow(a, v.id(), false)
}

func mexMute(s *Server, a *account, v *mexVariables) (string, any, error) {
	return "xwa2_newsletter_mute_v2", map[string]string{"id": v.Newsletter}, s.muteNewsletter(a, v.id(), true)
}

func mexUnmute(s *Server, a *account, v *mexVariables) (string, any, error) {
	return "xwa2_newsletter_unmute_v2", map[string]string{"id": v.Newsletter}, s.muteNewsletter(a, v.id(), false)
}

func (n *newsletter) follows(number string) bool {
	_, ok := n.Followers[number]
	return ok
}

// metadata is a newsletter as viewer sees it; an empty viewer gets what everybody may know.
func (n *newsletter) metadata(viewer string) *types.NewsletterMetadata {
	out := &types.NewsletterMetadata{
		ID: n.jid(), State: types.WrappedNewsletterState{Type: "ACTIVE"},
		ThreadMeta: types.NewsletterThreadMetadata{
			InviteCode:      n.Invite,
			Name:            types.NewsletterText{Text: n.Name, ID: "1"},
			Description:     types.NewsletterText{Text: n.Description, ID: "2"},
			SubscriberCount: len(n.Followers), VerificationState: "UNVERIFIED",
			Settings: types.NewsletterSettings{ReactionCodes: types.NewsletterReactionSettings{Value: types.NewsletterReactionsModeAll}},
		},
	}
	at := time.Unix(n.Created, 0)
	out.ThreadMeta.CreationTime.Time = at
	out.ThreadMeta.Name.UpdateTime.Time, out.ThreadMeta.Description.UpdateTime.Time = at, at
	if viewer == "" {
		return out
	}
	f, ok := n.Followers[viewer]
	if !ok {
		f.Role = types.NewsletterRoleGuest
	}
	out.ViewerMeta = &types.NewsletterViewerMetadata{
		Mute: types.NewsletterMuteState(muteState(f.Muted)), Role: types.NewsletterRole(strings.ToUpper(string(f.Role))),
	}
	return out
}
