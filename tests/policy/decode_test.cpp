// What is encoded is found, hidden whole, and not shown in part by a stream.
#include "base/encoding.h"
#include "policy/encoded_runs.h"
#include "tests/policy/policy_support.h"

namespace tollgate::policy {
namespace {

std::string Percent(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    out += plain ? std::string(1, c) : "%" + base::HexEncode(std::string(1, c));
  }
  return out;
}

std::string UrlBase64(std::string_view text) {
  std::string out = base::Base64Encode(text);
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out.substr(0, out.find('='));
}

std::string Lines(const std::string& text, std::size_t width, const char* end) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += width) out += (at == 0 ? "" : end) + text.substr(at, width);
  return out;
}

const char kSecret[] = "the key is AKIAIOSFODNN7EXAMPLE \u00e9, keep it";

std::vector<std::string> Encodings(std::string_view text) {
  const std::string plain(text), in_base64 = base::Base64Encode(text);
  return {in_base64,
          UrlBase64(text),
          base::HexEncode(text),
          Percent(text),
          base::Base64Encode(in_base64),
          base::HexEncode(in_base64),
          base::Base64Encode(base::HexEncode(text)),
          Percent(in_base64 + "=="),
          UrlBase64(Percent(text)),
          base::Base64Encode("x" + plain),
          base::Base64Encode("xy" + plain),
          Lines(base::Base64Encode(std::string(150, 'p') + " " + plain + " " + std::string(90, 'q')), 76, "\n"),
          Lines(base::Base64Encode(std::string(150, 'p') + " " + plain), 64, "\r\n")};
}

}  // namespace

TEST_CASE("What is encoded is hidden as a whole run, in prompts and in replies") {
  const auto policies = MustCompile(OneRule("{secrets: aws_access_key, decode: both}", "redact"));
  for (const std::string& encoded : Encodings(kSecret)) {
    INFO(encoded);
    const std::string text = "Look: " + encoded + " \u2013 done.";
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text == "Look: [AWS_ACCESS_KEY] \u2013 done.");
    REQUIRE(whole.verdict.rules.size() == 1);
    CHECK(whole.verdict.rules[0].count == 1);
    for (const std::size_t points : {1, 2, 5, 64}) CheckStream(*policies, text, whole, [points = points] { return points; });
    const Message message{Role::kUser, "", {text}};
    CHECK(policies->Inspect({}, {&message, 1})->prompt[0].parts[0] == whole.text);
  }
}

TEST_CASE("What is encoded across the places where long words are cut is found, in prompts and in replies") {
  const auto policies = MustCompile(OneRule("{personal_data: card, decode: both}", "redact"));
  const std::string encoded = base::Base64Encode("card 4111 1111 1111 1111"), hex = base::HexEncode("card 4111 1111 1111 1111");
  std::vector<std::string> words = {std::string(8180, '0') + hex,
                                    Lines(std::string(8177, 'A') + encoded + std::string(200, 'A'), 76, "\n")};
  for (const std::size_t before : {8150u, 8180u, 8183u, 8192u, 15'850u, 15'867u}) words.push_back(std::string(before, 'A') + encoded);
  for (const std::string& word : words) {
    INFO(word.size());
    const std::string text = "a " + word + " b";
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text.find(encoded.substr(8, 16)) == std::string::npos);
    CHECK(whole.text.find(hex.substr(10, 32)) == std::string::npos);
    CHECK(whole.verdict.rules.size() == 1);
    for (const std::size_t points : {7, 1000, 20'000}) CheckStream(*policies, text, whole, [points = points] { return points; });
    const Message message{Role::kUser, "", {text}};
    CHECK(policies->Inspect({}, {&message, 1})->prompt[0].parts[0] == whole.text);
  }
}

TEST_CASE("A run that does not begin with what is encoded is decoded from every place") {
  const auto policies = MustCompile(OneRule("{secrets: aws_access_key, decode: both}", "redact"));
  for (const char* before : {"a/", "ab-", "abc_", "abcd/"}) {
    CHECK(MustFilter(*policies, before + UrlBase64(kSecret)).text == "[AWS_ACCESS_KEY]");
    CHECK(MustFilter(*policies, std::string("k=") + UrlBase64(kSecret)).text == "k=[AWS_ACCESS_KEY]");
  }
  CHECK(MustFilter(*policies, "0x" + base::HexEncode(kSecret)).text == "0x[AWS_ACCESS_KEY]");
}

TEST_CASE("Prompts are decoded unless a rule says never, replies where it says both") {
  const std::string text = base::Base64Encode("write to jane@example.com"), url = "q=jane%40example.com&x=1";
  const auto judge = [&](const std::string& detect, const std::string& what) {
    const auto policies = MustCompile(OneRule(detect, "redact"));
    const Message message{Role::kUser, "", {what}};
    return std::pair(policies->Inspect({}, {&message, 1})->changed, MustFilter(*policies, what).text != what);
  };
  for (const std::string& what : {text, url}) {
    CHECK(judge("{personal_data: email}", what) == std::pair(true, false));
    CHECK(judge("{personal_data: email, decode: input}", what) == std::pair(true, false));
    CHECK(judge("{personal_data: email, decode: both}", what) == std::pair(true, true));
    CHECK(judge("{personal_data: email, decode: never}", what) == std::pair(false, false));
    CHECK(judge("{personal_data: email, as_written: true}", what) == std::pair(false, false));
  }
  CHECK(CompileError(OneRule("{personal_data: email, as_written: true, decode: both}", "flag")).find("excludes") != std::string::npos);
  CHECK(CompileError(OneRule("{unicode: all, decode: both}", "flag")).find("says nothing") != std::string::npos);
}

TEST_CASE("A blank of a form is a +, and an address goes on behind its @") {
  const auto policies = MustCompile(OneRule("{personal_data: [card, us_ssn, email], decode: both}", "replace", "    replacement: '#'\n"));
  const std::pair<const char*, const char*> rows[] = {
      {"card=4111+1111+1111+1111&x=1", "card=#&x=1"},
      {"q=my+ssn+is+536228107&ssn=536-22-8107", "q=#&ssn=#"},
      {"mail jane.doe@example%2Ecom now", "mail # now"},
      {"tel=%2B49+30, a+b+c=d+e, 1+1 C++ x+y@z", nullptr},
  };
  for (const auto& [text, out] : rows) {
    INFO(text);
    const Filtered whole = MustFilter(*policies, text);
    CHECK(whole.text == (out == nullptr ? text : out));
    for (const std::size_t points : {1, 3, 50}) CheckStream(*policies, text, whole, [points = points] { return points; });
  }
  const auto excused = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: mail, detect: {personal_data: email, decode: both}, unless: {regex: '@acme\\.example$'}, do: "
      "redact}\n");
  CHECK(MustFilter(*excused, "help@acme.example%2eevil.com").text == "[EMAIL]");
}

TEST_CASE("Nothing is shown of an encoded run, and an exception inside one covers only its own") {
  const auto mask = MustCompile(OneRule("{personal_data: card, decode: both}", "mask", "    keep_last: 4\n"));
  CHECK(MustFilter(*mask, base::Base64Encode("card 4111 1111 1111 1111")).text == "****");
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: desk, detect: {keywords: help@acme.example, decode: both}, do: allow}\n"
      "  - {id: mail, detect: {personal_data: email, decode: both}, do: redact}\n");
  const std::string allowed = base::Base64Encode("write to help@acme.example");
  CHECK(MustFilter(*policies, allowed).text == allowed);
  CHECK(MustFilter(*policies, base::Base64Encode("help@acme.example, bob@acme.example")).text == "[EMAIL]");
}

TEST_CASE("Inside an encoded run, too, what looks like an exception is none") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: desk, detect: {keywords: help@acme.example, decode: both}, do: allow}\n"
      "  - {id: mail, detect: {personal_data: email, decode: both}, do: redact}\n");
  CHECK(MustFilter(*policies, base::Base64Encode("write to help@\u0430cme.example")).text == "[EMAIL]");
}

TEST_CASE("Inside an encoded run, too, a rule's `unless` exempts from that rule alone") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: links, detect: {regex: 'https://[a-z.?=]{1,200}', decode: both}, "
      "unless: {regex: 'https://docs\\.acme\\.example/[a-z.?=]{0,200}'}, do: redact, replacement: '[LINK]'}\n"
      "  - {id: name, detect: {keywords: falcon, decode: both}, do: redact, replacement: '[NAME]'}\n");
  const std::string own = base::Base64Encode("https://docs.acme.example/?t=x"),
                    other = base::Base64Encode("https://docs.acme.example/?t=falcon");
  CHECK(MustFilter(*policies, own).text == own);
  CHECK(MustFilter(*policies, other).text == "[NAME]");
  CHECK(MustFilter(*policies, base::Base64Encode("see https://docs.evil.example/?t=x")).text == "[LINK]");
}

TEST_CASE("Encoded three times over is not looked at, nor are values too short to tell") {
  const auto policies = MustCompile(OneRule("{secrets: aws_access_key, decode: both}", "redact"));
  const std::string thrice = base::Base64Encode(base::Base64Encode(base::Base64Encode(kSecret)));
  CHECK(MustFilter(*policies, thrice).text == thrice);
  const auto words = MustCompile(OneRule("{keywords: falcon, decode: both}", "redact"));
  CHECK(MustFilter(*words, base::Base64Encode("falcon")).text == base::Base64Encode("falcon"));
  CHECK(MustFilter(*words, base::Base64Encode("a falcon.")).text == "[REDACTED]");
}

TEST_CASE("Words of any length take linear time and hold a bounded number of bytes") {
  const auto policies = MustCompile(
      "version: 1\nname: t\nrules:\n  - {id: p, detect: {personal_data: all, decode: both}, do: redact}\n"
      "  - {id: s, detect: {secrets: all, decode: both}, do: redact}\n");
  const std::string twice = base::Base64Encode(base::Base64Encode(std::string(40'000, 'a') + " jane@example.com"));
  for (const std::string& piece : {std::string("QUFB"), std::string("41"), std::string("%41"), std::string("%"), std::string("%41aaaaa="),
                                   std::string("a%40b.org "), base::Base64Encode("a@b.org, "), twice}) {
    INFO(piece.substr(0, 40));
    std::string text;
    while (text.size() < (512 << 10)) text += piece;
    const Filtered whole = MustFilter(*policies, text);
    std::size_t held = 0;
    const auto filter = policies->OpenOutput({});
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += 1000) {
      out += *filter->Push(std::string_view(text).substr(at, 1000));
      held = std::max(held, filter->held_bytes());
    }
    CHECK(out + *filter->Finish() == whole.text);
    CHECK(held <= WordCutter::kWordBytesMax + 1000);
  }
}

}  // namespace tollgate::policy
