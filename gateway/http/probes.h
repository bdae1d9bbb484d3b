// Health, readiness and metrics over HTTP: the same answers on the API's listener (without metrics and reasons) and on the probes' own.
#pragma once

#include <string_view>

#include "gateway/http/exchange.h"
#include "gateway/http/http_front.h"

namespace tollgate::http_front {

// The path of a target, without its query.
std::string_view PathOf(std::string_view target);

// Whether /readyz says why not: reasons name models, restricted ones too, and databases, and are for those who run the instance.
enum class Reasons { kTold, kKept };

// True if it answered: /healthz, /livez, /health, /readyz and, where probes.metrics is set, /metrics.
async::Awaitable<bool> AnswerProbe(Exchange& exchange, const Probes& probes, Reasons reasons);

// What no route takes: 404, or 405 with `allow` when the path is known.
async::Awaitable<void> AnswerUnknown(Exchange& exchange, std::string_view allow);

}  // namespace tollgate::http_front
