package routes

import "sync"

// The parts of the table of keys that are asked for with every route. They are made once, and nobody changes them.
var (
	topologyShape   = sync.OnceValue(makeTopologyShape)
	brokerShape     = sync.OnceValue(makeBrokerShape)
	routeShape      = sync.OnceValue(makeRouteShape)
	sourceShape     = sync.OnceValue(makeSourceShape)
	targetShape     = sync.OnceValue(makeTargetShape)
	deadLetterShape = sync.OnceValue(makeDeadLetterShape)
)
