"""What people fill in on the registry's pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError

from core import errors, webhooks
from registry import selectors
from registry.jobs import credentials, edit, harvest
from registry.models import Account, Harvest, HarvestType, Organization, Subscription
from registry.services import accounts

AUTO = {"dir": "auto"}


class HarvestForm(forms.ModelForm[Harvest]):
    """Any form of a source: what it signs in with is taken here, stored encrypted, and never shown again.

    `cleaned_data["credentials"]` is there when they change.
    """

    source_user = forms.CharField(required=False, max_length=credentials.LONGEST, label="User name at the source")
    source_password = forms.CharField(
        required=False,
        max_length=credentials.LONGEST,
        strip=False,
        label="Password at the source",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    forget_password = forms.BooleanField(required=False, label="Forget user name and password")

    class Meta:
        model = Harvest
        fields = "__all__"  # noqa: DJ007 - admin shows them all; pages name theirs

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.credentials:
            self.fields["source_password"].help_text = "One is stored. Empty keeps it, unless the host changes."

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        user, password = values.pop("source_user", ""), values.pop("source_password", "")
        forget = values.pop("forget_password", False)
        if bool(user) != bool(password):
            self.add_error("source_password", "A user name and a password belong together.")
        elif user and values.get("url"):
            try:
                values["credentials"] = credentials.seal(user, password, url=values["url"])
            except errors.Invalid as fact:
                self.add_error("source_user", fact.message)
        elif forget:
            values["credentials"] = ""
        self.instance.credentials = values.get("credentials", self.instance.credentials)
        return values


class SourceForm(HarvestForm):
    """A source's settings; organisations are the person's own, an administrator's are all."""

    class Meta:
        model = Harvest
        fields = [*edit.WRITABLE, "paused", *harvest.OPTIONS, "serve_invalid", "widen_points"]
        labels = {
            "url": "Address",
            "organization": "Organisation",
            "harvest_type": "Type",
            "harvest_interval": "Interval",
            "publish": "Published",
            "paused": "Paused: harvested by hand only",
            "harvest_contact": "Contact e-mail",
            "ckan_harvest_url": "CKAN harvest page",
            "max_depth": "Levels of folders",
            "document_scope": "Documents from",
            "include": "Only names like",
            "exclude": "No names like",
            "allow_empty": "May be empty",
            "shrink_limit": "Shrink limit (%)",
            "skip_broken_folders": "Keep the records of broken folders",
            "serve_invalid": "Serve invalid records too",
            "widen_points": "Widen point boxes in the served copies",
            "max_connections": "Connections at most",
            "full_check_days": "Days between full checks",
            "cql_filter": "CQL filter",
            "obey_robots": "Obey robots.txt",
        }
        error_messages = {
            "url": {"unique": "There is a source with this address already."},
            "include": {"item_invalid": "Item %(nth)s:"},
            "exclude": {"item_invalid": "Item %(nth)s:"},
        }
        widgets = {"name": forms.TextInput(attrs=AUTO), "cql_filter": forms.Textarea(attrs={"rows": 2})}

    def __init__(self, *args: Any, access: selectors.Access, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = Organization.objects.order_by("name")
        if not access.is_admin:
            own = own.filter(pk__in=access.organizations)
        self.fields["organization"] = forms.ModelChoiceField(own, label="Organisation")
        for name in ("url", "ckan_harvest_url"):
            self.fields[name].widget = forms.URLInput()
        if not self.instance.credentials:
            del self.fields["forget_password"]

    def clean_url(self) -> str:
        return checked_url(self.cleaned_data["url"])

    def clean_ckan_harvest_url(self) -> str:
        text: str = self.cleaned_data["ckan_harvest_url"]
        return checked_url(text) if text else ""


def checked_url(text: str) -> str:
    """An address a source may have; a fault becomes a sentence at the field."""
    try:
        return edit.checked_url(text, field="url")
    except errors.Invalid as fact:
        raise ValidationError(f"The address {fact.message}.") from fact


class PreviewForm(forms.Form):
    """Look at an address before adding it."""

    url = forms.CharField(max_length=2000, widget=forms.URLInput, label="Address")
    harvest_type = forms.ChoiceField(
        choices=[choice for choice in HarvestType.choices if choice[0] != HarvestType.DOCUMENT], label="Type"
    )

    def clean_url(self) -> str:
        return checked_url(self.cleaned_data["url"].strip())


class RegisterForm(forms.Form):
    """A new account."""

    email = forms.EmailField(label="E-mail address", max_length=254)
    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs=AUTO))
    organizations = forms.ModelMultipleChoiceField(Organization.objects.order_by("name"), label="Organisation(s)")
    poc_name = forms.CharField(max_length=200, label="Contact person", widget=forms.TextInput(attrs=AUTO))
    poc_email = forms.EmailField(label="Contact e-mail", max_length=254)
    password = forms.CharField(
        min_length=8, max_length=200, widget=forms.PasswordInput, help_text="At least eight characters."
    )

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        password_validation.validate_password(password)
        return password

    def value(self) -> accounts.Registration:
        """The valid form as the domain takes it."""
        data = self.cleaned_data
        return accounts.Registration(
            email=data["email"],
            name=data["name"],
            password=data["password"],
            organizations=tuple(organization.pk for organization in data["organizations"]),
            poc_name=data["poc_name"],
            poc_email=data["poc_email"],
        )


class AccountForm(forms.ModelForm[Account]):
    """The contact person of an account."""

    class Meta:
        model = Account
        fields = ["poc_name", "poc_email"]


class SubscriptionForm(forms.Form):
    """When to tell a person of a source's runs."""

    event = forms.ChoiceField(choices=[("", "never"), *Subscription.Event.choices], required=False, label="Mail me")


class AdminSubscriptionForm(forms.ModelForm[Subscription]):
    """A subscription as operators set it up; of a webhook's secret only the signing key is kept."""

    secret = forms.CharField(
        required=False,
        max_length=200,
        help_text="Signs the webhook. It is not shown again; empty keeps the one there is.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = Subscription
        fields = ["user", "harvest", "event", "webhook_url"]

    def clean_webhook_url(self) -> str:
        url: str = self.cleaned_data["webhook_url"]
        if url:
            try:
                webhooks.check_url(url)
            except errors.Invalid as fault:
                raise ValidationError(fault.message) from fault
        return url

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if values.get("webhook_url") and not (values.get("secret") or self.instance.key):
            self.add_error("secret", "A webhook needs a secret.")
        return values

    def save(self, commit: bool = True) -> Subscription:
        if secret := self.cleaned_data["secret"]:
            self.instance.key = webhooks.key_of(secret)
        return super().save(commit)
