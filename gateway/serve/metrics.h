// The text of /metrics, in Prometheus' exposition format. Names start with tollgate_, in base units; no key and no user is ever a label.
#pragma once

#include <string>
#include <vector>

#include "audit/journal_postgres.h"
#include "gateway/detectors/external_detectors.h"
#include "gateway/pipeline/pipeline.h"
#include "inference/pool.h"

namespace tollgate::serve {

struct Connections {
  std::string surface;  // "grpc", "http", "admin", "probes".
  std::int64_t open = 0, refused = 0;
};

// One moment of everything that is measured.
struct Measurements {
  std::string build;
  bool ready = false;
  std::int64_t running = 0;
  pipeline::Pipeline::Counts requests;
  audit::JournalStats journal;
  std::int64_t directory_age_ms = 0;
  std::int64_t directory_version = 0;
  std::vector<inference::ReplicaStats> replicas;
  std::vector<detectors::DetectorStats> detectors;
  std::vector<Connections> connections;  // Of each listener.
  std::int64_t http_body_bytes = 0;
  std::int64_t answer_bytes = 0;
};

std::string MetricsText(const Measurements& now);

}  // namespace tollgate::serve
