// What `tollgate dev` prints: every line to paste is whole, with the real ports and a real key.
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "gateway/dev/banner.h"
#include "gateway/dev/program_line.h"

using namespace tollgate;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("The banner has the keys and a line for each kind of client") {
  dev::BannerFacts facts;
  facts.endpoints = {18080, 18081, 18083, 18084, "smollm2", "acme", 1};
  facts.keys = {{"owner", "tg_dev_owner", "tollgate/operators/admin", "everything"},
                {"web", "tg_dev_web", "acme/search/web", "the web application"}};
  facts.program = "build/dev/bin/tollgate";
  facts.folder = "var/dev";
  facts.start_s = 1.25;
  const std::string banner = dev::Banner(facts);
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

TEST_CASE("Lines to paste name the folder where it is not the default, as one word") {
  const std::string program = dev::ProgramLine("var/dev");
  CHECK_THAT(program, ContainsSubstring("gateway_dev_test") && !ContainsSubstring("--folder"));
  CHECK(dev::ProgramLine("/tmp/x") == program + " --folder /tmp/x");
  CHECK(dev::ProgramLine("/tmp/my try's") == program + " --folder '/tmp/my try'\\''s'");
}
