package routes

// positions finds sources that go on to be read, under a name that another route has given them: at Kafka and NATS the
// place in a source belongs to the name of its consumer, and the consumer has the name of the first route that reads
// there (adapters.Config.Client). A new name begins anew.
func (c *comparison) positions(d *Diff) {
	for _, g := range d.Groups {
		if g.Old != nil && g.New != nil && g.Old[0].Name != g.New[0].Name && c.placed(g.New[0]) {
			d.Positions = append(d.Positions, Change{Name: g.New[0].Name, Keys: []string{}, Was: g.Old[0].Name})
		}
	}
}

// placed reports whether the place of r in its source belongs to a consumer that has r's name.
func (c *comparison) placed(r *Route) bool {
	b := c.new.Brokers[r.From.Broker]
	switch {
	case b == nil:
		return false
	case b.Kind == "kafka":
		return r.From.Options.String("group", "") == ""
	}
	return b.Kind == "nats"
}
