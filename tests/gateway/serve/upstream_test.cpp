#include "gateway/serve/upstream.h"

#include <catch2/catch_test_macros.hpp>

#include "base/encoding.h"
#include "gateway/config/config.h"
#include "tests/support/temp_dir.h"

using namespace tollgate;

namespace {

tollgate::v1::Config::Model ModelOf() {
  tollgate::v1::Config config;
  auto* model = config.mutable_pool()->add_models();
  model->set_name("big");
  model->mutable_upstream()->add_endpoints()->set_url("http://10.0.0.1:8000");
  model->mutable_upstream()->add_endpoints()->set_url("http://10.0.0.2:8000");
  config::FillDefaults(config);
  return *model;
}

}  // namespace

TEST_CASE("An upstream's configuration has defaults, its servers, and the model's own name unless they call it otherwise") {
  auto model = ModelOf();
  auto upstream = serve::UpstreamFrom(model, "salt");
  REQUIRE(upstream.ok());
  CHECK(upstream->kind == inference::UpstreamKind::kVllm);
  CHECK(upstream->endpoints == std::vector<std::string>{"http://10.0.0.1:8000", "http://10.0.0.2:8000"});
  CHECK(upstream->model == "big");
  CHECK(upstream->bearer.empty());
  CHECK(upstream->salt_key == "salt");
  CHECK(upstream->retries_max == 2);
  CHECK(upstream->stall_timeout == std::chrono::seconds(30));
  model.mutable_upstream()->set_model("org/Big-70B");
  model.mutable_upstream()->set_kind("llama_server");
  upstream = serve::UpstreamFrom(model, "salt");
  CHECK(upstream->model == "org/Big-70B");
  CHECK(upstream->kind == inference::UpstreamKind::kLlamaServer);
}

TEST_CASE("The bearer secret is a file of its owner alone; the refusal names it and not what is in it") {
  const test::TempDir dir;
  const std::string file = dir.File("bearer");
  auto model = ModelOf();
  model.mutable_upstream()->set_bearer_file(file);
  struct Row {
    const char* text;
    unsigned mode;
    const char* refusal;  // Empty: none.
  };
  for (const Row& row :
       {Row{"sesame\n", 0600, ""}, Row{"sesame", 0620, "chmod 600"}, Row{"sesame", 0604, "chmod 600"}, Row{" \n", 0600, "empty"}}) {
    REQUIRE(base::WriteFileAtomically(file, row.text, row.mode).ok());
    const auto upstream = serve::UpstreamFrom(model, "salt");
    CHECK(upstream.ok() == (*row.refusal == '\0'));
    if (upstream.ok()) {
      CHECK(upstream->bearer == "sesame");
      continue;
    }
    const std::string message = base::Message(upstream.status());
    CHECK(message.find(file) != std::string::npos);
    CHECK(message.find(row.refusal) != std::string::npos);
    CHECK(message.find("sesame") == std::string::npos);
  }
  model.mutable_upstream()->set_bearer_file(dir.File("none"));
  CHECK_FALSE(serve::UpstreamFrom(model, "salt").ok());
}
