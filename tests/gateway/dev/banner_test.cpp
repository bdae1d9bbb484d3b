// What `tollgate dev` prints: every line to paste is whole, with the real ports and a real key.
#include <string>

#include <google/protobuf/util/json_util.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/dev/banner.h"
#include "gateway/dev/program_line.h"
#include "tollgate/v1/inference.pb.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;

namespace {

dev::BannerFacts Facts() {
  dev::BannerFacts facts;
  facts.endpoints = {18080, 18081, 18083, 18084, "smollm2", "acme", 1};
  facts.keys = {{"owner", "tg_dev_owner", "tollgate/operators/admin", "everything"},
                {"web", "tg_dev_web", "acme/search/web", "the web application"}};
  facts.program = "build/dev/bin/tollgate";
  facts.folder = "var/dev";
  facts.start_s = 1.25;
  return facts;
}

// What stands between the two.
std::string Between(const std::string& text, const std::string& before, const std::string& after) {
  const std::size_t begin = text.find(before) + before.size();
  REQUIRE(text.find(before) != std::string::npos);
  REQUIRE(text.find(after, begin) != std::string::npos);
  return text.substr(begin, text.find(after, begin) - begin);
}

}  // namespace

TEST_CASE("The banner has the keys and a line for each kind of client") {
  const std::string banner = dev::Banner(Facts());
  CHECK_THAT(banner, ContainsSubstring("ready after 1.2 s") || ContainsSubstring("ready after 1.3 s"));
  for (const char* line :
       {"\nbuild/dev/bin/tollgate demo\n", "\nbuild/dev/bin/tollgate chat -v --temperature 0 --max-tokens 60 \"Why is the sky blue?\"\n",
        "\ncurl -N http://127.0.0.1:18080/v1/chat/completions ", "\ngrpcurl -plaintext -H 'authorization: Bearer tg_dev_web' ",
        "127.0.0.1:18081 tollgate.v1.Inference/ChatStream\n", "\npython3 -m venv var/openai && var/openai/bin/pip install openai\n",
        "\nOPENAI_BASE_URL=http://127.0.0.1:18080/v1 OPENAI_API_KEY=tg_dev_web var/openai/bin/python -c 'from openai import OpenAI",
        "\nOPENAI_BASE_URL=http://127.0.0.1:18080/v1 OPENAI_API_KEY=tg_dev_web node --input-type=module -e 'import OpenAI",
        "http://127.0.0.1:18084/metrics", "tg_dev_owner"}) {
    CHECK_THAT(banner, ContainsSubstring(line));
  }
}

TEST_CASE("grpcurl's line calls a method that there is, with a message that it takes") {
  const std::string line = Between(dev::Banner(Facts()), "\ngrpcurl ", "\n");
  v1::ChatRequest request;
  const auto read = google::protobuf::util::JsonStringToMessage(Between(line, "-d '", "' "), &request);
  CHECK(read.ok());
  CHECK(request.model() == "smollm2");
  CHECK(request.messages(0).parts(0) == "Why is the sky blue?");
  const auto* service = v1::ChatRequest::descriptor()->file()->FindServiceByName("Inference");
  REQUIRE(service != nullptr);
  const auto* method = service->FindMethodByName(line.substr(line.find("tollgate.v1.Inference/") + 22));
  REQUIRE(method != nullptr);
  CHECK(method->input_type() == v1::ChatRequest::descriptor());
}

TEST_CASE("Lines to paste name the folder where it is not the default, as one word") {
  const std::string program = dev::ProgramLine("var/dev");
  CHECK_THAT(program, ContainsSubstring("gateway_dev_test") && !ContainsSubstring("--folder"));
  CHECK(dev::ProgramLine("/tmp/x") == program + " --folder /tmp/x");
  CHECK(dev::ProgramLine("/tmp/my try's") == program + " --folder '/tmp/my try'\\''s'");
}
