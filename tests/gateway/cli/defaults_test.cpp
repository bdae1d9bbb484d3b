// `tollgate defaults` and `tollgate chat --count` against services that answer from memory.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/cli/fake_services.h"

using namespace tollgate;
using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("Defaults: only what is given is set, a prompt comes from the line or from a file") {
  Server server;
  const Result set = server.Run({"defaults", "set", "--team", "search", "--system-file", "-", "--temperature", "0", "--cap-stops", "0",
                                 "--max-tokens", "512", "--clamp"},
                                "Answer in English.");
  CHECK(set.code == kDone);
  CHECK(set.out == "set: defaults of /search, version 1: what was set (record 1/7); in force everywhere within a second\n");
  const v1::ChatDefaults& sent = server.defaults.set.defaults();
  CHECK(server.defaults.set.scope().team() == "search");
  CHECK(sent.system_prompt() == "Answer in English.");
  CHECK(sent.sampling().has_temperature());
  CHECK(sent.has_stop_cap());
  CHECK(sent.max_tokens() == 512);
  CHECK(sent.clamp());
  CHECK_FALSE(sent.replaces_system());
  CHECK_FALSE(sent.sampling().has_top_p());
  CHECK_FALSE(sent.has_temperature_cap());
  CHECK_FALSE(sent.has_band());
  CHECK(server.Run({"defaults", "set", "--key-id", "3kQ9xZ0b", "--band", "0", "--weight", "2.5", "--cap-reasoning-tokens", "200"}).code ==
        kDone);
  const v1::SetDefaultsRequest of_key = server.defaults.set;
  CHECK(of_key.scope().key() == "3kQ9xZ0b");
  CHECK(of_key.defaults().has_band());
  CHECK(of_key.defaults().band() == 0);
  CHECK(of_key.defaults().weight() == 2.5);
  CHECK(of_key.defaults().reasoning_tokens_cap() == 200);
  CHECK(server.Run({"defaults", "set", "--system", "a", "--system-file", "b"}).code == kUsage);
  CHECK(server.Run({"defaults", "set", "--max-tokens", "many"}).code == kUsage);
}

TEST_CASE("Defaults are listed without their prompts and shown with them") {
  Server server;
  CHECK(server.Run({"defaults", "list"}).out == "SCOPE        VERSION  SETS          RECORD\nacme/search        3  what was set  1/7\n");
  const Result show = server.Run({"defaults", "show", "--team", "search"});
  CHECK(show.out == "acme/search, version 3, record 1/7\nwhat was set\n\nBe brief.\n");
  CHECK_THAT(server.Run({"--json", "defaults", "show", "--team", "search"}).out, ContainsSubstring("\"system_prompt\": \"Be brief.\""));
  const Result none = server.Run({"defaults", "show"});
  CHECK(none.code == kRefused);
  CHECK(server.Run({"defaults", "show", "--key-id", "3kQ9xZ0b"}).code == kRefused);
  CHECK_THAT(none.err, ContainsSubstring("no defaults of its own"));
  CHECK(server.Run({"defaults", "remove", "--project", "search/web"}).code == kDone);
  CHECK(server.defaults.remove.scope().project() == "web");
}

TEST_CASE("A prompt's tokens are counted without a chat") {
  Server server;
  const Result count = server.Run({"chat", "-m", "smollm2", "-s", "Be brief.", "--count", "hello"});
  CHECK(count.code == kDone);
  CHECK(count.out == "14 of 4,096 tokens\n");
  CHECK(server.tokens.count.messages_size() == 2);
}
