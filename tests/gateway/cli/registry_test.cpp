// `tollgate models …` against a registry that answers from memory.
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "tests/gateway/cli/fake_services.h"

using namespace tollgate::cli;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("A model is registered with the settings that were named, and no others") {
  Server server;
  const Result added = server.Run({"models", "add", "qwen3", "--file", "qwen3.gguf", "--sha256", "ab", "--context", "8192", "--kv", "q8",
                                   "--kv-tokens", "16384", "--queue", "0", "--restricted"});
  CHECK(added.code == kDone);
  CHECK_THAT(added.out, ContainsSubstring("tollgate models load qwen3"));
  const v1::ModelSpec& spec = server.registry.add.spec();
  CHECK(spec.name() == "qwen3");
  CHECK(spec.file() == "qwen3.gguf");
  CHECK(spec.context_tokens() == 8192);
  CHECK(spec.kv() == "q8");
  CHECK(spec.kv_tokens() == 16384);
  CHECK(spec.has_queue_max());
  CHECK(spec.slots() == 0);
  CHECK_FALSE(spec.has_prefix_cache_bytes());
  CHECK(server.registry.add.restricted());
}

TEST_CASE("An adapter is registered with its base and scale") {
  Server server;
  const Result added =
      server.Run({"models", "add", "qwen3:legal", "--base", "qwen3", "--file", "legal.gguf", "--sha256", "ab", "--scale", "0.5"});
  CHECK(added.code == kDone);
  CHECK_THAT(added.out, ContainsSubstring("adapter qwen3:legal is registered") && ContainsSubstring("costs what qwen3 does") &&
                            ContainsSubstring("tollgate models load qwen3:legal"));
  CHECK(server.registry.add.spec().base() == "qwen3");
  CHECK(server.registry.add.spec().scale() == 0.5);
}

TEST_CASE("Loading waits until the server has the model, or says why it has not") {
  Server server;
  server.registry.states = {v1::MODEL_STATE_LOADING, v1::MODEL_STATE_LOADED};
  const Result loaded = server.Run({"models", "load", "qwen3"});
  CHECK(loaded.code == kDone);
  CHECK_THAT(loaded.out, ContainsSubstring("model qwen3 is loaded"));
  server.registry.states = {v1::MODEL_STATE_REFUSED};
  const Result refused = server.Run({"models", "load", "qwen3"});
  CHECK(refused.code == kRefused);
  CHECK_THAT(refused.err, ContainsSubstring("its digest differs") && ContainsSubstring("tollgate models unload qwen3"));
  server.registry.states = {v1::MODEL_STATE_LOADING};
  const Result late = server.Run({"models", "load", "qwen3", "--timeout", "1"});
  CHECK(late.code == kUnavailable);
  CHECK_THAT(late.err, ContainsSubstring("tollgate models show qwen3"));
  const Result late_json = server.Run({"models", "load", "qwen3", "--timeout", "1", "--json"});
  CHECK(late_json.code == kUnavailable);
  CHECK_THAT(late_json.out, ContainsSubstring("MODEL_STATE_LOADING"));
  server.registry.states = {v1::MODEL_STATE_UNLOADED};
  const Result taken_out = server.Run({"models", "load", "qwen3"});
  CHECK(taken_out.code == kRefused);
  CHECK_THAT(taken_out.err, ContainsSubstring("model qwen3 is not loaded"));
  CHECK(server.Run({"models", "load", "qwen3", "--json"}).code == kRefused);
  server.registry.states = {v1::MODEL_STATE_LOADED};
  const Result json = server.Run({"models", "load", "qwen3", "--json"});
  CHECK(json.code == kDone);
  CHECK_THAT(json.out, ContainsSubstring("MODEL_STATE_LOADED"));
}

TEST_CASE("The registry is shown as a table, a model with all its settings") {
  Server server;
  CHECK_THAT(server.Run({"models", "list", "--registered"}).out, ContainsSubstring("qwen3") && ContainsSubstring("refused"));
  const Result shown = server.Run({"models", "show", "qwen3"});
  CHECK_THAT(shown.out, ContainsSubstring("model     qwen3  (refused)") && ContainsSubstring("problem   its digest differs"));
  CHECK_THAT(server.Run({"models", "show", "qwen3", "--json"}).out, ContainsSubstring("\"state\": \"MODEL_STATE_REFUSED\""));
  CHECK(server.Run({"models", "retire", "qwen3"}).code == kUsage);  // Without a reason.
  CHECK_THAT(server.Run({"models", "retire", "qwen3", "--reason", "old"}).out, ContainsSubstring("model qwen3 is retired"));
  CHECK_THAT(server.Run({"models", "restrict", "qwen3"}).out, ContainsSubstring("whose allow-list names it"));
  CHECK_THAT(server.Run({"models", "open", "qwen3"}).out, ContainsSubstring("everybody"));
  CHECK_THAT(server.Run({"models", "unload", "qwen3"}).out, ContainsSubstring("takes no more requests"));
}

TEST_CASE("An alias is set with weights and fallbacks, rolled back, listed and removed") {
  Server server;
  const Result set = server.Run({"models", "alias", "chat", "smollm2=95", "qwen4=5", "--fallback", "llama", "--fallback", "tiny"});
  CHECK(set.code == kDone);
  CHECK_THAT(set.out, ContainsSubstring("chat leads to smollm2=95 qwen4=5, else to llama, tiny"));
  CHECK_THAT(set.err, ContainsSubstring("no model qwen4 is served here now") && !ContainsSubstring("no model smollm2"));
  CHECK(server.registry.alias.targets(1).weight() == 5);
  CHECK(server.Run({"models", "alias", "chat", "llama"}).out.starts_with("chat leads to llama (record"));
  CHECK_THAT(server.Run({"models", "alias", "ruled", "llama"}).err, ContainsSubstring("warning: org acme: these rules are for"));
  CHECK(server.Run({"models", "alias", "chat", "smollm2=95", "qwen4=5"}).err.find("these rules") == std::string::npos);
  CHECK(server.Run({"models", "alias", "chat", "llama"}).code == kDone);
  CHECK_THAT(server.Run({"models", "aliases"}).out, ContainsSubstring("smollm2=95 qwen4=5"));
  CHECK(server.Run({"models", "rollback", "chat"}).code == kUsage);  // Without a reason.
  CHECK_THAT(server.Run({"models", "rollback", "chat", "--reason", "worse"}).out, ContainsSubstring("chat leads to smollm2=95 qwen4=5"));
  CHECK_THAT(server.Run({"models", "unalias", "chat", "--reason", "gone"}).out, ContainsSubstring("alias chat is removed"));
  for (const char* bad : {"qwen4=0", "qwen4=x", "qwen4="}) {
    CHECK_THAT(server.Run({"models", "alias", "chat", bad}).err, ContainsSubstring("write MODEL=WEIGHT"));
  }
}

TEST_CASE("Pulling is handed to the program with what was asked for") {
  PullCommand asked;
  Programs programs;
  programs.pull = [&asked](const PullCommand& command) {
    asked = command;
    return kDone;
  };
  CHECK(RunLine({"models", "pull", "s3://models/a.gguf", "--sha256", "ab", "--as", "b.gguf", "--to", "/srv"}, "", programs).code == kDone);
  CHECK(asked.source == "s3://models/a.gguf");
  CHECK(asked.name == "b.gguf");
  CHECK(asked.folder == "/srv");
  CHECK(RunLine({"models", "pull", "a.gguf", "--sha256", "ab"}).code == kUsage);
  CHECK(RunLine({"models", "pull", "a.gguf"}, "", programs).code == kUsage);  // What shall it be?
}

TEST_CASE("Devices are shown with what is known of them, for people and for scripts") {
  Programs programs;
  programs.devices = [] {
    DeviceLines lines{.driver = "580.65.06", .runtime = "13.0", .notes = {}};
    lines.devices.push_back({0, "NVIDIA H100", "GPU-a", "9.0", 85'899'345'920, 84'825'604'096, 97, 41, "on", 3});
    lines.devices.push_back({.name = "NVIDIA T4", .uuid = "GPU-b"});
    return lines;
  };
  const Result table = RunLine({"models", "devices"}, "", programs);
  CHECK(table.code == kDone);
  for (const char* part : {"NVIDIA H100", "9.0", "81,920", "80,896", "97 %", "41 C", "on, 3 errors", "not ours", "GPU-b"})
    CHECK_THAT(table.out, ContainsSubstring(part));
  CHECK_THAT(table.err, ContainsSubstring("driver 580.65.06, CUDA runtime 13.0"));
  const Result scripts = RunLine({"models", "devices", "--json"}, "", programs);
  CHECK_THAT(scripts.out, ContainsSubstring(R"("free_bytes":84825604096)") && ContainsSubstring(R"("index":null)"));

  programs.devices = [] { return DeviceLines{.driver = "", .runtime = "", .notes = {"no NVIDIA driver"}}; };
  const Result none = RunLine({"models", "devices"}, "", programs);
  CHECK(none.code == kDone);
  CHECK_THAT(none.out, ContainsSubstring("no GPU: models compute on the processor"));
  CHECK_THAT(none.err, ContainsSubstring("no NVIDIA driver"));
  CHECK(RunLine({"models", "devices"}).code == kUsage);
}
