#include "gateway/serve/metrics.h"

#include <catch2/catch_test_macros.hpp>

using namespace tollgate;

TEST_CASE("Metrics are Prometheus text, one family a name, in base units") {
  serve::Measurements now;
  now.build = "0.1.0";
  now.ready = true;
  now.requests = {.requests = 5, .answered = 3, .failed = 2, .overhead_us = 1'500'000};
  now.replicas.resize(2);
  now.replicas[0].model = "a";
  now.replicas[1].model = "b";
  now.replicas[1].output_tokens = 77;
  const std::string text = serve::MetricsText(now);
  CHECK(text.find("tollgate_build_info{build=\"0.1.0\"} 1") != std::string::npos);
  CHECK(text.find("tollgate_ready 1") != std::string::npos);
  CHECK(text.find("tollgate_requests_total 5") != std::string::npos);
  CHECK(text.find("tollgate_overhead_seconds_total 1.5") != std::string::npos);
  CHECK(text.find("tollgate_pool_output_tokens_total{model=\"b\"} 77") != std::string::npos);
  const std::string type = "# TYPE tollgate_pool_slots gauge";
  const auto first = text.find(type);
  REQUIRE(first != std::string::npos);
  CHECK(text.find(type, first + 1) == std::string::npos);
}
