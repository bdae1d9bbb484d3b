#include "gateway/serve/metrics.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <map>
#include <regex>
#include <string>

using namespace tollgate;

namespace {

// Name and type of each metric, of a text of lines that a pattern finds them in.
std::map<std::string, std::string> Found(std::istream& text, const std::regex& pattern) {
  std::map<std::string, std::string> found;
  std::smatch match;
  for (std::string line; std::getline(text, line);) {
    if (std::regex_search(line, match, pattern)) found[match[1]] = match[2];
  }
  return found;
}

}  // namespace

TEST_CASE("Metrics are Prometheus text, one family a name, in base units") {
  serve::Measurements now;
  now.build = "0.1.0";
  now.ready = true;
  now.requests = {.requests = 5, .answered = 3, .failed = 2, .overhead_us = 1'500'000};
  now.replicas.resize(2);
  now.replicas[0].model = "a";
  now.replicas[1].model = "b";
  now.replicas[1].output_tokens = 77;
  now.connections = {{"http", 7, 2}, {"admin", 1, 0}};
  const std::string text = serve::MetricsText(now);
  CHECK(text.find("tollgate_build_info{build=\"0.1.0\"} 1") != std::string::npos);
  CHECK(text.find("tollgate_ready 1") != std::string::npos);
  CHECK(text.find("tollgate_requests_total 5") != std::string::npos);
  CHECK(text.find("tollgate_overhead_seconds_total 1.5") != std::string::npos);
  CHECK(text.find("tollgate_pool_output_tokens_total{model=\"b\"} 77") != std::string::npos);
  CHECK(text.find("tollgate_connections{surface=\"http\"} 7") != std::string::npos);
  CHECK(text.find("tollgate_connections_refused_total{surface=\"http\"} 2") != std::string::npos);
  CHECK(text.find("tollgate_connections{surface=\"admin\"} 1") != std::string::npos);
  const std::string type = "# TYPE tollgate_pool_slots gauge";
  const auto first = text.find(type);
  REQUIRE(first != std::string::npos);
  CHECK(text.find(type, first + 1) == std::string::npos);
}

TEST_CASE("docs/metrics.md names every metric with its type, and none that is not there") {
  serve::Measurements now;
  now.replicas.resize(1);
  now.replicas[0].upstream.endpoints = 1;
  now.detectors.resize(1);
  now.connections.resize(1);
  std::istringstream shown(serve::MetricsText(now));
  std::ifstream page(TOLLGATE_SOURCE_DIR "/docs/metrics.md");
  REQUIRE(page.good());
  const auto metrics = Found(shown, std::regex(R"(^# TYPE (\S+) (\S+)$)"));
  CHECK(metrics.size() > 40);
  CHECK(Found(page, std::regex(R"(^\| `([a-z_:]+)` \| ([a-z]+) )")) == metrics);
}

TEST_CASE("A histogram is cumulative and ends at infinity with everything") {
  serve::Measurements now;
  now.replicas.resize(1);
  now.replicas[0].model = "a";
  auto& times = now.replicas[0].first_token;
  times.Add(std::chrono::microseconds(150));
  times.Add(std::chrono::milliseconds(3));
  times.Add(std::chrono::hours(1));
  const std::string text = serve::MetricsText(now);
  const std::string name = "tollgate_pool_first_token_seconds";
  for (const char* line :
       {"_bucket{model=\"a\",le=\"0.0001\"} 0\n", "_bucket{model=\"a\",le=\"0.0002\"} 1\n", "_bucket{model=\"a\",le=\"0.005\"} 2\n",
        "_bucket{model=\"a\",le=\"200\"} 2\n", "_bucket{model=\"a\",le=\"+Inf\"} 3\n", "_count{model=\"a\"} 3\n"}) {
    INFO(line);
    CHECK(text.find(name + line) != std::string::npos);
  }
}

TEST_CASE("An endpoint picker sees the whole instance: queued, running and the part of the context in use") {
  serve::Measurements now;
  CHECK(serve::MetricsText(now).find("\nvllm:kv_cache_usage_perc 0\n") != std::string::npos);
  now.replicas.resize(2);
  now.replicas[0] = {.waiting = 3, .kv_tokens_used = 100, .kv_tokens_total = 1000};
  now.replicas[1] = {.running = 2, .waiting = 1, .kv_tokens_used = 400, .kv_tokens_total = 1000};
  const std::string text = serve::MetricsText(now);
  CHECK(text.find("\nvllm:num_requests_waiting 4\n") != std::string::npos);
  CHECK(text.find("\nvllm:num_requests_running 2\n") != std::string::npos);
  CHECK(text.find("\nvllm:kv_cache_usage_perc 0.25\n") != std::string::npos);
}

TEST_CASE("A model that cannot answer now is full to an endpoint picker, not idle") {
  serve::Measurements now;
  now.replicas.resize(2);
  now.replicas[0] = {.slots = 4, .queue_max = 16, .running = 1, .waiting = 3, .kv_tokens_used = 100, .kv_tokens_total = 1000};
  now.replicas[1] = {.slots = 8, .queue_max = 64, .kv_tokens_total = 1000, .ready = false};
  const std::string text = serve::MetricsText(now);
  CHECK(text.find("\nvllm:num_requests_waiting 75\n") != std::string::npos);
  CHECK(text.find("\nvllm:num_requests_running 1\n") != std::string::npos);
  CHECK(text.find("\nvllm:kv_cache_usage_perc 0.55\n") != std::string::npos);
}
