package redirect

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// What the fence is told to do.
const (
	doBeat    = "beat"
	doLead    = "lead"
	doRelease = "release"
	doEnd     = "end"
)

type request struct {
	Do       string    `json:"do"`
	Redirect *Redirect `json:"redirect,omitempty"`
}

type answer struct {
	Err string `json:"err,omitempty"`
}

// Holder is the applier's side of a fence.
type Holder struct {
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
	stop chan struct{}
	end  func() error

	mu   sync.Mutex
	lost error
}

const (
	beatEvery  = 500 * time.Millisecond
	answerWait = 5 * time.Second
)

var errEnded = errors.New("the fence has ended")

// Dial reaches a fence that is ready, and lets it know from then on that this process lives.
func Dial(socket string) (*Holder, error) {
	conn, err := net.DialTimeout("unix", socket, answerWait)
	if err != nil {
		return nil, fmt.Errorf("reaching the fence: %w", err)
	}
	h := &Holder{conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn), stop: make(chan struct{})}
	h.end = sync.OnceValue(h.endOnce)
	go func() {
		tick := time.NewTicker(beatEvery)
		defer tick.Stop()
		for {
			select {
			case <-h.stop:
				return
			case <-tick.C:
				if h.tell(request{Do: doBeat}) != nil {
					return
				}
			}
		}
	}()
	return h, nil
}

// tell asks for something and waits until it is done. After a failure of the connection nothing is led anywhere any more.
func (h *Holder) tell(q request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost != nil {
		return h.lost
	}
	var a answer
	err := h.conn.SetDeadline(time.Now().Add(answerWait))
	if err == nil {
		err = h.out.Encode(q)
	}
	if err == nil {
		err = h.in.Decode(&a)
	}
	if err != nil {
		h.lost = fmt.Errorf("asking the fence: %w", err)
		return errors.Join(h.lost, h.conn.Close())
	}
	if a.Err != "" {
		return fmt.Errorf("asking the fence: %s", a.Err)
	}
	return nil
}

// Lead lets new connections go where the redirect says.
func (h *Holder) Lead(r Redirect) error { return h.tell(request{Do: doLead, Redirect: &r}) }

// Release lets new connections go where they would without us; those that were led stay.
func (h *Holder) Release() error { return h.tell(request{Do: doRelease}) }

// Lost says why the fence is there no more; nil while it is.
func (h *Holder) Lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// End lets the fence end, and its table with it. Called again it says what it said at first.
func (h *Holder) End() error { return h.end() }

func (h *Holder) endOnce() error {
	close(h.stop)
	err := h.tell(request{Do: doEnd})
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost == nil {
		h.lost = errEnded
		err = errors.Join(err, h.conn.Close())
	}
	return err
}
