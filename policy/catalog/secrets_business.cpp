// Payments, mail, messaging, office and marketing. A test key is a secret too: it opens the account's test data.
//
// Tested by tests/policy/catalog_test.cpp.
#include "policy/catalog/secrets.h"

namespace tollgate::policy {
namespace {

#define TG_UUID "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"

constexpr SecretKind kRows[] = {
    {"stripe_live_secret_key", "stripe_key", R"(\bsk_live_[0-9A-Za-z]{16,128})", 3},
    {"stripe_test_secret_key", "stripe_key", R"(\bsk_test_[0-9A-Za-z]{16,128})", 3},
    {"stripe_restricted_key", "stripe_key", R"(\brk_(?:live|test)_[0-9A-Za-z]{16,128})", 3},
    {"stripe_webhook_secret", "stripe_key", R"(\bwhsec_[0-9A-Za-z+/]{16,128})", 3},
    {"square_access_token", "", R"(\b(?:EAAA[A-Za-z0-9_-]{60}|sq0atp-[A-Za-z0-9_-]{22}))", 3.2},
    {"square_oauth_secret", "", R"(\bsq0csp-[A-Za-z0-9_-]{43})", 3.4},
    {"braintree_access_token", "", R"(\baccess_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32})", 3},
    {"adyen_api_key", "", R"(\bAQE[a-z][A-Za-z0-9+/]{60,200}={0,2}-[A-Za-z0-9+/]{30,60}={0,2}-[A-Za-z0-9(){}<>,.;:!*&^%$#@~?|\[\]]{8,24})",
     3.5},
    {"plaid_access_token", "", "\\baccess-(?:sandbox|development|production)-" TG_UUID, 3},
    {"flutterwave_secret_key", "", R"(\bFLWSECK(?:_TEST)?-[A-Za-z0-9]{12,40}(?:-X)?\b)", 3},
    {"razorpay_key", "", R"(\brzp_(?:live|test)_[A-Za-z0-9]{14})", 3},
    {"lob_api_key", "", R"(\b(?:live|test)_[a-f0-9]{35}\b)", 3},
    {"easypost_key", "", R"(\bEZ[AT]K[a-f0-9A-Za-z]{54}\b)", 3.4},
    {"shippo_token", "", R"(\bshippo_(?:live|test)_[a-f0-9]{40})", 3},
    {"duffel_token", "", R"(\bduffel_(?:live|test)_[A-Za-z0-9_=-]{43})", 3.4},
    {"shopify_access_token", "shopify_token", R"(\bshpat_[a-fA-F0-9]{32})", 3},
    {"shopify_custom_app_token", "shopify_token", R"(\bshpca_[a-fA-F0-9]{32})", 3},
    {"shopify_private_app_token", "shopify_token", R"(\bshppa_[a-fA-F0-9]{32})", 3},
    {"shopify_shared_secret", "shopify_token", R"(\bshpss_[a-fA-F0-9]{32})", 3},
    {"slack_bot_token", "slack_token", R"(\bxoxb-[0-9]{8,14}-[A-Za-z0-9-]{10,160})", 3},
    {"slack_user_token", "slack_token", R"(\bxoxp-[0-9]{8,14}-[A-Za-z0-9-]{10,160})", 3},
    {"slack_app_token", "slack_token", R"(\bxapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{8,14}-[a-f0-9]{40,80})", 3},
    {"slack_legacy_token", "slack_token", R"(\bxox[aors]-[0-9]{1,14}-[A-Za-z0-9-]{10,160})", 3},
    {"slack_browser_token", "slack_token", R"(\bxoxc-[0-9]{8,14}-[A-Za-z0-9-]{10,160})", 3},
    {"slack_browser_cookie", "slack_token", R"(\bxoxd-[A-Za-z0-9%+/_-]{40,400}={0,2})", 3.5},
    {"slack_config_token", "slack_token", R"(\bxoxe(?:\.xox[bp])?-[0-9]-[A-Za-z0-9]{60,200}\b)", 3},
    {"slack_webhook", "", R"(hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,60})", 3},
    {"discord_bot_token", "", R"(\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40})", 3.8, AcceptMixedToken},
    {"discord_webhook", "", R"(discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,72})", 3.5},
    {"teams_webhook", "", "\\.webhook\\.office\\.com/webhookb2/" TG_UUID "@" TG_UUID "/IncomingWebhook/[a-f0-9]{32}/" TG_UUID, 3},
    {"telegram_bot_token", "", R"(\b\d{8,10}:AA[A-Za-z0-9_-]{33})", 3},
    {"twilio_api_key", "twilio_key", R"(\bSK[0-9a-f]{32}\b)", 3},
    {"twilio_account_sid", "twilio_key", R"(\bAC[0-9a-f]{32}\b)", 3},
    {"sendgrid_key", "", R"(\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64})", 3},
    {"mailgun_api_key", "", R"(\bkey-[a-f0-9]{32}\b)", 3},
    {"mailchimp_api_key", "", R"(\b[a-f0-9]{32}-us[0-9]{1,2}\b)", 3},
    {"mandrill_api_key", "", R"(\bmd-[A-Za-z0-9_-]{22}\b)", 3.4, AcceptMixedToken},
    {"brevo_api_key", "", R"(\bxkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16})", 3.2},
    {"brevo_smtp_key", "", R"(\bxsmtpsib-[a-f0-9]{64}-[A-Za-z0-9]{16})", 3.2},
    {"resend_api_key", "", R"(\bre_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}\b)", 3.2, AcceptMixedToken},
    {"mailersend_token", "", R"(\bmlsn\.[a-f0-9]{64}\b)", 3},
    {"hubspot_private_app_token", "", "\\bpat-[a-z]{2}[0-9]{1,2}-" TG_UUID, 3},
    {"salesforce_access_token", "", R"(\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{90,120})", 3.8},
    {"airtable_pat", "", R"(\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b)", 3.2},
    {"asana_pat", "", R"(\b[12]/[0-9]{13,17}(?:/[0-9]{13,17})?:[a-f0-9]{32}\b)", 3},
    {"linear_api_key", "", R"(\blin_api_[A-Za-z0-9]{40})", 3.2},
    {"linear_oauth_token", "", R"(\blin_oauth_[a-f0-9]{64})", 3},
    {"notion_token", "", R"(\b(?:ntn_[0-9]{11}[A-Za-z0-9]{35}|secret_[A-Za-z0-9]{43})\b)", 3.4},
    {"figma_pat", "", R"(\bfigd_[A-Za-z0-9_-]{38,44})", 3.4},
    {"trello_token", "", R"(\bATTA[A-Za-z0-9]{72}\b)", 3.5},
    {"typeform_token", "", R"(\btfp_[A-Za-z0-9_-]{44}_[A-Za-z0-9]{14})", 3.4},
    {"contentful_pat", "", R"(\bCFPAT-[A-Za-z0-9_-]{43})", 3.4},
    {"dropbox_access_token", "", R"(\bsl\.(?:u\.)?[A-Za-z0-9_-]{130,})", 3.8, nullptr, 2048},
    {"facebook_access_token", "", R"(\bEAA[A-Z][A-Za-z0-9]{80,300}\b)", 3.8},
    {"instagram_access_token", "", R"(\bIG[QA]A?[VW][A-Za-z0-9_-]{80,300})", 3.8},
    {"twitter_bearer_token", "", R"(\bAAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%]{60,120})", 3},
    {"mapbox_secret_token", "", R"(\bsk\.eyJ[A-Za-z0-9_-]{40,120}\.[A-Za-z0-9_-]{22}\b)", 3.5},
    {"posthog_personal_key", "", R"(\bphx_[A-Za-z0-9]{43,47})", 3.4},
    {"segment_token", "", R"(\bsgp_[A-Za-z0-9]{64}\b)", 3.8},
    {"maxmind_license_key", "", R"(\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b)", 3.2},
    {"frameio_token", "", R"(\bfio-u-[A-Za-z0-9_=-]{64})", 3.5},
    {"lichess_token", "", R"(\bli[op]_[A-Za-z0-9]{20,24})", 3},
    {"settlemint_token", "", R"(\bsm_(?:pat|aat|sat)_[A-Za-z0-9]{16})", 3},
};

}  // namespace

std::span<const SecretKind> BusinessSecrets() { return kRows; }

}  // namespace tollgate::policy
