package bridge

import (
	"slices"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// TestSeal: with a key, id, origin and path are believed only as a holder of the key has written them together.
func TestSeal(t *testing.T) {
	key := adapters.NewSecret("one secret for all repeaters")
	m := &adapters.Message{Track: adapters.Track{ID: "e.1.1", Origin: "e.0.9", Path: []string{"paris/p.a.b", "berlin/odd, name"}}}
	for _, proto := range []string{"amqp", "kafka", "nats", "mq"} {
		h := headersOf(proto)
		sealed, _, err := Fit(m, h, Options{Key: key}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		read := func(change func(*adapters.Message), o Options) adapters.Track {
			c := *sealed
			c.Track = adapters.Track{} // a protocol carries headers only
			c.Props = slices.Clone(sealed.Props)
			change(&c)
			back, _ := Restore(&c, h, o)
			return back.Track
		}
		same := func(*adapters.Message) {}
		set := func(name, value string) func(*adapters.Message) {
			return func(c *adapters.Message) {
				for i := range c.Props {
					if unspell(c.Props[i].Name) == name {
						c.Props[i].V = adapters.String(value)
					}
				}
			}
		}
		drop := func(name string) func(*adapters.Message) {
			return func(c *adapters.Message) {
				c.Props = slices.DeleteFunc(c.Props, func(p adapters.Prop) bool { return unspell(p.Name) == name })
			}
		}
		for _, c := range []struct {
			name   string
			change func(*adapters.Message)
			o      Options
			hops   int
		}{
			{"as it was sealed", same, Options{Trusted: true, Key: key}, 2},
			{"without a key", same, Options{Trusted: true}, 2},
			{"another key", same, Options{Trusted: true, Key: adapters.NewSecret("guessed")}, 0},
			{"a shorter path", set(hPath, "paris/p.a.b"), Options{Trusted: true, Key: key}, 0},
			{"no path", drop(hPath), Options{Trusted: true, Key: key}, 0},
			{"another origin", set(hOrigin, "e.0.8"), Options{Trusted: true, Key: key}, 0},
			{"another id", set(hID, "e.1.2"), Options{Trusted: true, Key: key}, 0},
			{"no seal", drop(hSeal), Options{Trusted: true, Key: key}, 0},
			{"from a broker that is not believed", same, Options{Key: key}, 0},
		} {
			if got := read(c.change, c.o); len(got.Path) != c.hops || (got.ID != "") != (c.hops > 0) || (got.Origin != "") != (c.hops > 0) {
				t.Errorf("%s, %s: %+v", proto, c.name, got)
			}
		}
	}
	fresh, notes := Restore(&adapters.Message{Props: []adapters.Prop{{Name: "a", V: adapters.String("b")}}}, headersOf("amqp"), Options{Trusted: true, Key: key})
	if len(notes) > 0 || fresh.Track.ID != "" {
		t.Errorf("a message of an application: %v %+v", notes, fresh.Track)
	}
}
