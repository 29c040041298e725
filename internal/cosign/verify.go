package cosign

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

// The media types of layers that hold signatures, and what is written beside them.
const (
	SimpleSigning       = "application/vnd.dev.cosign.simplesigning.v1+json"
	SignatureAnnotation = "dev.cosignproject.cosign/signature"

	PredicateAnnotation = "dev.sigstore.bundle.predicateType"
	SignPredicate       = "https://sigstore.dev/cosign/sign/v1" // other predicates are attestations
)

// IsBundle reports whether a media type is that of a bundle of sigstore; a version is
// part of it.
func IsBundle(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle")
}

// The limits of what is read of a signature, in bytes.
const (
	MaxPayload = 64 << 10
	MaxBundle  = 1 << 20
)

var (
	errNotSigned   = errors.New("the signature is not by one of the keys")
	errOtherDigest = errors.New("the signature is for another image")
)

// VerifyPayload checks the tag format: that encoded is a signature of raw by one of the
// keys, in base64, and that raw is cosign's payload for the image of that digest.
func (k Keys) VerifyPayload(raw []byte, encoded, digest string) error {
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("the signature is not base64: %w", err)
	}
	if !k.signed(raw, decoded) {
		return errNotSigned
	}
	var signed payload.SimpleContainerImage
	if err := json.Unmarshal(raw, &signed); err != nil {
		return fmt.Errorf("the payload is invalid: %w", err)
	}
	if signed.Critical.Type != payload.CosignSignatureType {
		return fmt.Errorf("the payload is of another type: %q", signed.Critical.Type)
	}
	if signed.Critical.Image.DockerManifestDigest != digest {
		return errOtherDigest
	}
	return nil
}

func (k Keys) signed(message, signature []byte) bool {
	for _, verifier := range k.verifiers {
		if verifier.VerifySignature(bytes.NewReader(signature), bytes.NewReader(message)) == nil {
			return true
		}
	}
	return false
}

const statementType = "application/vnd.in-toto+json"

// statement is an in-toto statement.
type statement struct {
	PredicateType string `json:"predicateType"`
	Subject       []struct {
		Digest map[string]string `json:"digest"` // hex by algorithm
	} `json:"subject"`
}

// VerifyBundle checks the bundle format: that raw is a bundle of sigstore with a
// statement signed by one of the keys, and that this is cosign's signature of the image
// of that digest. What the bundle has of certificates and transparency logs is not used.
func (k Keys) VerifyBundle(raw []byte, digest string) error {
	envelope, err := envelopeOf(raw)
	if err != nil {
		return err
	}
	signed, ok := k.open(envelope)
	if !ok {
		return errNotSigned
	}
	var s statement
	if err := json.Unmarshal(signed, &s); err != nil {
		return fmt.Errorf("the statement is invalid: %w", err)
	}
	if s.PredicateType != SignPredicate {
		return fmt.Errorf("the statement is not a signature but of type %q", s.PredicateType)
	}
	algorithm, hex, _ := strings.Cut(digest, ":")
	for _, subject := range s.Subject {
		if hex != "" && subject.Digest[algorithm] == hex {
			return nil
		}
	}
	return errOtherDigest
}

// envelopeOf returns the envelope of a bundle, which has exactly one signature.
func envelopeOf(raw []byte) (json.RawMessage, error) {
	var bundle struct {
		MediaType string          `json:"mediaType"`
		Envelope  json.RawMessage `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(raw, &bundle); err != nil {
		return nil, fmt.Errorf("the bundle is invalid: %w", err)
	}
	var envelope struct {
		Signatures []json.RawMessage `json:"signatures"`
	}
	if !IsBundle(bundle.MediaType) || json.Unmarshal(bundle.Envelope, &envelope) != nil || len(envelope.Signatures) != 1 {
		return nil, errors.New("the bundle has no envelope with one signature")
	}
	return bundle.Envelope, nil
}

// open returns the payload of an envelope that one of the keys has signed.
func (k Keys) open(envelope json.RawMessage) (signed []byte, ok bool) {
	ok = slices.ContainsFunc(k.verifiers, func(v signature.Verifier) bool {
		wrapped := dsse.WrapVerifier(v, dsse.WithExpectedPayloadType(statementType), dsse.WithDecodedPayload(&signed))
		return wrapped.VerifySignature(bytes.NewReader(envelope), nil) == nil
	})
	return signed, ok
}
