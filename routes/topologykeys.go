package routes

import "slices"

// networking is the release that brought files for several repeaters, and topologies.
const networking = "0.5"

// The kinds of topologies.
const (
	HubAndSpoke = "hub-and-spoke" // one broker in the middle
	Bus         = "bus"           // one broker after another
	Mesh        = "mesh"          // every broker with every other
)

// directionsOf are the directions that a kind of topology has.
func directionsOf(kind string) []string {
	switch kind {
	case HubAndSpoke:
		return []string{"outward", "inward", "both"}
	case Bus:
		return []string{"forward", "backward", "both"}
	case Mesh:
		return []string{"both"}
	}
	return []string{"outward", "inward", "forward", "backward", "both"}
}

// networkFields are the keys of the file about several daemons and brokers.
func networkFields(route *Shape) []*Field {
	return []*Field{
		{Name: "repeaters", Type: Named, Of: repeaterShape(), Since: networking, Reload: RestartRoute,
			Example: "repeaters: { NAME: { brokers: [NAME, NAME] } }",
			Doc:     "Which daemon serves what: each runs its own part of the file, the one that --repeater names. Left out: one daemon serves everything."},
		{Name: "topology", Type: Object, Of: networkShape(route), Since: networking, Reload: RestartRoute,
			Doc: "A pattern that generates routes named NAME.FROM.TO, and does nothing else; posthouse topology shows them."},
	}
}

func repeaterShape() *Shape {
	return &Shape{Name: "repeater", Doc: "One daemon.", Fields: []*Field{
		{Name: "brokers", Type: TextList, Required: true, Since: networking, Reload: RestartRoute, Example: "brokers: [NAME, NAME]",
			Doc: "It serves each route whose brokers are all in this list, that of its dead letters included."},
		{Name: "routes", Type: TextList, Since: networking, Reload: RestartRoute,
			Doc: "Only these of them, generated ones by their full name. Left out: all."},
		{Name: "admin", Type: Object, Since: networking, Reload: RestartProcess, Doc: "What differs from the file's admin, so that two daemons can share a host.",
			Of: &Shape{Name: "repeater.admin", Doc: "Where this daemon answers.", Fields: []*Field{
				{Name: "listen", Type: Text, Since: networking, Reload: RestartProcess, Doc: "In place of admin.listen."},
				{Name: "socket", Type: Path, Since: operating, Reload: RestartProcess, Doc: "In place of admin.socket."},
			}}},
	}}
}

func networkShape(route *Shape) *Shape {
	return &Shape{Name: "topology", Doc: "A pattern of brokers that repeat destinations to one another.", Fields: []*Field{
		{Name: "kind", Type: Word, Words: []string{HubAndSpoke, Bus, Mesh}, Required: true, Since: networking, Reload: RestartRoute, Example: "kind: hub-and-spoke",
			Doc: "hub-and-spoke: one broker in the middle; bus: each broker and the next; mesh: every broker and every other, by repeaters that share the load."},
		{Name: "hub", Type: BrokerRef, Since: networking, Reload: RestartRoute, Doc: "hub-and-spoke: the broker in the middle."},
		{Name: "spokes", Type: TextList, Since: networking, Reload: RestartRoute, Doc: "hub-and-spoke: the others."},
		{Name: "chain", Type: TextList, Since: networking, Reload: RestartRoute, Doc: "bus: the brokers from one end to the other, at most 33."},
		{Name: "members", Type: TextList, Since: networking, Reload: RestartRoute, Doc: "mesh: the brokers."},
		{Name: "repeat", Type: Objects, Of: repeatShape(route), Required: true, Since: networking, Reload: RestartRoute,
			Example: "repeat: [{ name: NAME, direction: both, at: { NAME: { topic: NAME } } }]", Doc: "What is repeated: one entry for each destination."},
		{Name: "path_key", Type: SecretValue, Since: networking, Reload: RestartProcess,
			Doc: "One secret for all repeaters of the file. With it the id, origin and path of a message are believed only if one of them has sealed them (HMAC-SHA-256), so that nobody else can forge a path."},
	}}
}

func repeatShape(route *Shape) *Shape {
	return &Shape{Name: "repeat", Doc: "One destination that is repeated.", Fields: []*Field{
		{Name: "name", Type: Name, Required: true, Since: networking, Reload: RestartRoute, Example: "name: prices", Doc: "First part of the names of its routes."},
		{Name: "direction", Type: Word, Words: directionsOf(""), Required: true, Since: networking, Reload: RestartRoute, Example: "direction: both",
			Doc: "hub-and-spoke: outward, from the hub; inward, to the hub; both, also from spoke to spoke through the hub. bus: forward, backward, both. mesh: both (T006)."},
		{Name: "at", Type: Named, Of: atShape(), Required: true, Since: networking, Reload: RestartRoute, Example: "at: { NAME: { topic: NAME } }",
			Doc: "What it is called at each broker."},
		{Name: "route", Type: Object, Of: generatedShape(route), Since: networking, Reload: RestartRoute, Doc: "Settings of the routes that it generates."},
	}}
}

// atShape has what an end needs to be a source and a target.
func atShape() *Shape {
	out := &Shape{Name: "at", Doc: "The destination at one broker: an end that is read and written. Each generated route reads a topic, topic of Kafka or stream with a subscription, group or consumer of its own."}
	for _, f := range slices.Concat(sourceShape().Fields, targetShape().Fields) {
		if slices.Contains([]string{"broker", "name", "subscription", "group", "weight", "priority"}, f.Name) || out.has(f) {
			continue
		}
		c := *f
		c.With = ""
		out.Fields = append(out.Fields, &c)
	}
	return out
}

// has reports whether s has a key of the same name for one of the same kinds.
func (s *Shape) has(f *Field) bool {
	return slices.ContainsFunc(s.Fields, func(o *Field) bool {
		return o.Name == f.Name && (o.Kinds == nil || f.Kinds == nil || slices.ContainsFunc(o.Kinds, f.fits))
	})
}

// generatedShape is a route without what the topology decides.
func generatedShape(route *Shape) *Shape {
	out := &Shape{Name: "repeat.route", Doc: "Settings of the routes that an entry generates; max_hops counts the routes of this entry alone."}
	for _, f := range route.Fields {
		if !slices.Contains([]string{"name", "from", "to", "distribute", "affinity", "when_down", "failover_after", "failback_after", "override", "renamed_from"}, f.Name) {
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// networkRouteFields are keys of a route that concern several routes or repeaters.
func networkRouteFields() []*Field {
	return []*Field{
		{Name: "share", Type: Flag, Default: "false", Since: networking, Reload: RestartRoute,
			Doc: "true: several repeaters, or several routes that read a source each for itself, may share what it hands out (R005)."},
		{Name: "override", Type: Flag, Default: "false", Since: networking, Reload: RestartRoute,
			Doc: "true: this route stands in place of the generated one whose name it has, and skips echoes as that one does."},
		{Name: "loop_ok", Type: Flag, Default: "false", Since: networking, Reload: RestartRoute,
			Doc: "true: this route may close a circle (R004). A message that comes by a second time is a dead letter all the same."},
	}
}

// keepField makes a stream that create: makes one that several can read.
func keepField(kinds []string) *Field {
	return &Field{Name: "keep", Type: Duration, Min: 1, Kinds: kinds, Option: true, Since: networking, Reload: RestartRoute,
		Doc: "With create: how long the stream keeps a message, read or not, so that each reader gets a copy. Left out: it is a queue, with one reader, and what is settled is gone."}
}
