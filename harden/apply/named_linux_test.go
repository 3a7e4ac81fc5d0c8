package apply_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestWhatAManifestStillNamesStays: where others had changed a manifest on the same line, so that it could not be put back, the files
// that it names were taken away all the same, and the API server did not survive its next restart.
func TestWhatAManifestStillNamesStays(t *testing.T) {
	for name, undo := range map[string]func(w *world, id string){
		"by recover": func(w *world, id string) {
			if res := w.recover(id, false); res.Outcome != harden.OutcomeMixed || !strings.Contains(res.Message.String(), "could not be put back in "+apiserverManifest+" names it") {
				w.t.Errorf("%s: %s", res.Outcome, res.Message)
			}
		},
		"at boot": func(w *world, id string) {
			a := w.process()
			defer w.end()
			if a.PutBack(id) == nil {
				w.t.Error("nothing failed")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, p := armedWorld(t)
			id := w.apply(p).Transaction
			w.write(apiserverManifest, strings.Replace(w.node.text(apiserverManifest), "--min-request-timeout=1801", "--min-request-timeout=1802", 1))
			undo(w, id)
			if text := w.node.text(apiserverManifest); !strings.Contains(text, policyFile) || w.node.text(policyFile) == "" {
				t.Errorf("%s holds %q, and the manifest is\n%s", policyFile, w.node.text(policyFile), text)
			}
			w.write(apiserverManifest, string(w.before[apiserverManifest].Data))
			if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 {
				t.Errorf("once the manifest is back: %s: %s; left %q", res.Outcome, res.Message, w.changes())
			}
		})
	}
}
